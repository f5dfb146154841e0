"""transformers and compressed-tensors read a whole model in every format of floats."""
import sys
from comparison import Table
from recipe import Workbench
from with_transformers import compare


def main(kind, folder):
    bench, table = Workbench(kind, folder, 256, 2), Table(f"transformers and compressed-tensors, fp32, floats, {kind} model")
    for case in ("nvfp4", "mxfp4", "mxfp8", "fp8-block"):
        compare(case, "auto", bench, table, damaged=True, whole=True)
    return table.finish()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
