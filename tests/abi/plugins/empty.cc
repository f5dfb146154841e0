// No component at all.
