"""`python cli.py …` is `trimix-cpp …`, from a checkout where the package is installed."""

from trimix_cpp.__main__ import run

if __name__ == "__main__":
    run()
