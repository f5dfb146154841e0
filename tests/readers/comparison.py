"""What is compared, and the table of it."""
import math
import numpy as np
import torch


def divergence(logits, others):
    """Mean KL(p‖q) in nats of two [windows, tokens, vocabulary], row by row in fp64."""
    total, count = 0.0, 0
    for window, other in zip(logits, others):
        for first in range(0, len(window), 64):
            p, q = (torch.log_softmax(torch.as_tensor(x[first:first + 64]).double(), -1) for x in (window, other))
            total += (p.exp() * (p - q)).sum().item()
            count += len(p)
    return total / count


def perplexity(logits, ids):
    total, count = 0.0, 0
    for window, targets in zip(logits, torch.as_tensor(ids)):
        rows = torch.as_tensor(window[:len(targets) - 1])
        total += torch.nn.functional.cross_entropy(rows.float(), targets[1:], reduction="none").double().sum().item()
        count += len(rows)
    return math.exp(total / count)


class Table:
    """Checks of one reader; a figure that is not finite or not below its limit fails."""

    def __init__(self, reader):
        self.failures, self.damaged = 0, False
        print(f"{reader}\n{'checkpoint':15} {'compared':36} {'figure':>11} {'limit':>9}")

    def below(self, case, what, figure, limit, note=""):
        fits = figure < limit or figure == limit == 0
        self.failures += not fits
        word = "" if fits else " noticed," if self.damaged else " FAILED,"
        print(f"{case:15} {what:36} {figure:11.4g} {limit:9.3g} {word} {note}", flush=True)

    def state(self, case, what, figure, note=""):
        print(f"{case:15} {what:36} {figure:11.4g} {'':9}  {note}", flush=True)

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

    def perplexity(self, case, run, read):
        self.below(case, "perplexity, % from the run's", 100 * abs(read / run - 1), 0.05, f"{run:.6f}, read {read:.6f}")

    def must_fail(self, what, check):
        """`check` on a damaged checkpoint has to fail."""
        print(f"{what}; the next check has to notice:")
        before, self.damaged = self.failures, True
        check()
        noticed, self.damaged = self.failures > before, False
        self.failures = before + (not noticed)
        if not noticed:
            print("FAILED, not noticed")

    def finish(self):
        print("all as it must be" if self.failures == 0 else f"{self.failures} checks failed")
        return 1 if self.failures else 0
