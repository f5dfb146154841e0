"""A second decoder reads Swage's GPTQ and AutoRound checkpoints, and Swage reads them itself."""
import shutil, sys
import checkpoint, gptq_files
from comparison import Table, divergence
from recipe import Workbench

DAMAGED = {"gptq-w4-asymmetric": (("qweight", 0), ("qzeros", 2), ("scales", 0), ("g_idx", 0)),
           "auto-round-w4": (("qweight", 31), ("qzeros", 1), ("scales", 3))}


def compare(case, bench, table):
    folder = gptq_files.write(bench, case)
    packed = folder + "/packed"
    expected = checkpoint.decoded(folder + "/dense")
    table.weights(case, expected, gptq_files.decoded(packed))
    table.logits(case, divergence(bench.logits(folder + "/dense"), bench.logits(packed)), 1e-12)
    if case.startswith("gptq"):
        wrong = [name for name, found, rule in gptq_files.joined_names(packed) if found != rule]
        table.below(case, "joined matrices with another rule", len(wrong), 0, " ".join(wrong[:1]))
    for part, bit in DAMAGED.get(case, ()):
        checkpoint.flipped(packed, folder + "/flipped", part, bit, "qweight")
        table.must_fail(f"{case} with bit {bit} of one {part} flipped", lambda: table.weights(
            case, expected, gptq_files.decoded(folder + "/flipped")))
        table.must_fail(f"{case} with bit {bit} of one {part} flipped, in Swage", lambda: table.logits(
            case, divergence(bench.logits(packed), bench.logits(folder + "/flipped")), 1e-12))
        shutil.rmtree(folder + "/flipped")
    shutil.rmtree(folder)


def main(kind, folder):
    bench, table = Workbench(kind, folder, 64, 2), Table(f"GPTQ and AutoRound in numpy, {kind} model")
    for case in gptq_files.CASES:
        compare(case, bench, table)
    return table.finish()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
