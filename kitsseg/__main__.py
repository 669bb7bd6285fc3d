"""``kitsseg COMMAND ...``, the same as ``python -m kitsseg.COMMAND ...``."""

import runpy
import sys

COMMANDS = {
    "train": "train, fine-tune and evaluate a network; -m runs a sweep",
    "prepare": "check and prepare a data set",
    "verify": "read every file of a data set once and list its problems",
    "download": "download KiTS19",
    "predict": "apply a checkpoint to CT images",
    "evaluate": "compare label volumes with the truth",
    "report": "write tables and the report of any runs",
    "plan": "how many cases and seeds a comparison needs",
    "dashboard": "save a W&B workspace and report",
    "export": "write ONNX and torch.export files",
}


def main() -> None:
    """Run the command that the first argument names."""
    command = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if command in ("-h", "--help"):
        print("usage: kitsseg COMMAND [--help] [KEY=VALUE ...]\n")
        print("\n".join(f"  {name:10} {text}" for name, text in COMMANDS.items()))
        return
    if command not in COMMANDS:
        print(f"kitsseg {command}: unknown command; choose from {', '.join(COMMANDS)}", file=sys.stderr)
        sys.exit(2)
    sys.argv = [f"kitsseg {command}", *sys.argv[2:]]
    runpy.run_module(f"kitsseg.{command}", run_name="__main__")


if __name__ == "__main__":
    main()
