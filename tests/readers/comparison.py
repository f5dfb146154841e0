"""What is compared, and the table of it."""
import math
import numpy as np


def log_softmax(rows):
    """In fp64: fp32 over 49152 words is 7e-6 off, always to the same side."""
    rows = np.asarray(rows, np.float64)
    rows = rows - rows.max(-1, keepdims=True)
    return rows - np.log(np.exp(rows).sum(-1, keepdims=True))


def divergence(logits, others):
    """Mean KL(p‖q) in nats of two [windows, tokens, vocabulary]."""
    total, count = 0.0, 0
    for window, other in zip(logits, others):
        for first in range(0, len(window), 64):
            p, q = log_softmax(window[first:first + 64]), log_softmax(other[first:first + 64])
            total += (np.exp(p) * (p - q)).sum()
            count += len(p)
    return float(total / count)


def perplexity(logits, ids):
    total, count = 0.0, 0
    for window, targets in zip(logits, np.asarray(ids)[:, 1:]):
        total -= np.take_along_axis(log_softmax(window[:len(targets)]), targets[:, None], 1).sum()
        count += len(targets)
    return math.exp(total / count)


STEPS, ENOUGH = 64, 16  # tokens that a reader makes, and how many of them have to be compared


class Table:
    """Checks of one reader. A figure that is not below its limit fails, and so does one that is no number."""

    def __init__(self, reader):
        self.failures, self.damaged, self.greedy_fails = 0, False, False
        print(f"{reader}\n{'checkpoint':20} {'compared':34} {'figure':>10} {'limit':>9}", flush=True)

    def _line(self, case, what, figure, limit, note):
        print(f"{case:20} {what:34} {figure:10.4g} {limit:>9}  {note}".rstrip(), flush=True)

    def below(self, case, what, figure, limit, note=""):
        fits = figure < limit or figure == limit == 0
        self.failures += not fits
        word = "" if fits else "NOTICED " if self.damaged else "FAILED "
        self._line(case, what, figure, f"{limit:.3g}", word + note)

    def state(self, case, what, figure, note):
        self._line(case, what, figure, "", note)

    def weights(self, case, expected, read):
        """Every tensor of `expected` to the last bit."""
        differing, largest = [], 0.0
        for name, values in expected.items():
            other = read.get(name)
            if other is None or values.shape != other.shape:
                differing.append(f"{name}, missing or of another shape")
            elif (values.view(np.uint32) != other.view(np.uint32)).any():
                differing.append(name)
                largest = max(largest, np.abs(values - other).max())
        note = f"of {len(expected)}, max |Δw| {largest:.3g}" + (f", e.g. {differing[0]}" if differing else "")
        self.below(case, "tensors that differ in any bit", len(differing), 0, note)

    def logits(self, case, figure, limit, note=""):
        self.below(case, "KL to Swage's logits", figure, limit, note)

    def perplexity(self, case, run, read, limit=0.05):
        what, figure, note = "perplexity, % from the run's", 100 * abs(read / run - 1), f"{run:.6f}, read {read:.6f}"
        self.below(case, what, figure, limit, note) if limit else self.state(case, what, figure, note)

    def noise(self, case, figure, effect, limit):
        """KL where activations are quantized. A value that differs in its last bit may get another code, so the figure is
        held against `effect`, what quantizing activations changes at all."""
        what, note = "KL of 2 blocks to Swage's logits", f"{100 * figure / effect:.3g} % of what quantized activations change"
        self.below(case, what, figure, limit * effect, note) if limit else self.state(case, what, figure, note)

    def greedy(self, case, prompt, generate, own, tolerance):
        """The reader goes on from `prompt` by the best token of each step, `generate(prompt, STEPS)`. Swage's logits of
        all that, `own(windows)`, have to be greatest at these tokens. Where its two best lie within `tolerance`, the
        reader's own error, either is right, and the step is not counted."""
        tokens = list(generate(prompt, STEPS))
        if len(tokens) != STEPS:
            raise SystemExit(f"{case}: the reader made {len(tokens)} tokens, expected {STEPS}")
        rows = np.asarray(own(np.array([[*prompt, *tokens]])), np.float64)[0, len(prompt) - 1:-1]
        self._tokens(case, rows, tokens, tolerance)
        if not self.greedy_fails:  # once a reader
            self.greedy_fails, gaps = True, np.diff(np.partition(rows, -2)[:, -2:])[:, 0]
            tokens[gaps.argmax()] = rows[gaps.argmax()].argsort()[-2]
            self.must_fail(f"{case} with the second best at the clearest step", lambda: self._tokens(case, rows, tokens, tolerance))

    def _tokens(self, case, rows, tokens, tolerance):
        second, first = np.partition(rows, -2)[:, -2:].T
        short, ties = first - rows[np.arange(len(rows)), tokens], first - second <= tolerance
        compared = int(len(rows) - ties.sum())
        note = f"of {compared} compared, {ties.sum()} ties within {tolerance:g}; at most {short.max():.3g} short of the best"
        self.below(case, "greedy tokens that differ", int((short > tolerance).sum()), 0, note)
        if compared < ENOUGH:
            self.below(case, "steps too few to compare", ENOUGH - compared, 0)

    def must_fail(self, what, check):
        """`check` of a damaged checkpoint has to fail."""
        print(f"{what}, which the next line has to notice:")
        before, self.damaged = self.failures, True
        check()
        noticed, self.damaged = self.failures > before, False
        self.failures = before + (not noticed)
        if not noticed:
            print("FAILED: not noticed")

    def finish(self):
        print("all as it must be" if self.failures == 0 else f"{self.failures} checks FAILED")
        return 1 if self.failures else 0
