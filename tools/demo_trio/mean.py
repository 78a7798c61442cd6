"""The mean of checkpoints of one run, weight by weight, as a checkpoint.

    python tools/demo_trio/mean.py W/cpt-1 W/cpt-2 W/cpt-3 W/cpt

It has the last one's other files. (P. Izmailov et al., "Averaging Weights Leads to Wider Optima and
Better Generalization", 2018.)
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

WEIGHTS = "model.safetensors"


def main() -> None:
    """Write the mean into a new folder."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("checkpoints", type=Path, nargs="+", help="folders of one shape")
    parser.add_argument("out", type=Path, help="a new folder")
    args = parser.parse_args()
    loaded = [load_file(folder / WEIGHTS) for folder in args.checkpoints]
    mean = {name: torch.stack([each[name] for each in loaded]).mean(dim=0) for name in loaded[0]}
    shutil.copytree(args.checkpoints[-1], args.out)
    save_file(mean, args.out / WEIGHTS, metadata={"format": "pt"})


if __name__ == "__main__":
    main()
