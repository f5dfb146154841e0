void defined_nowhere();

namespace {
void (*volatile const kUsed)() = defined_nowhere;
}
