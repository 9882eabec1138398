"""`make bench`: every benchmark in turn, each printing figures taken side by side in one run."""

import runpy
import sys
from pathlib import Path

HERE = Path(__file__).parent
BENCHMARKS = (
    "scoring",
    "serving",
    "documents",
    "subscriptions",
    "nearby",
    "holds",
    "notification_round",
)


def main() -> None:
    chosen = sys.argv[1:] or BENCHMARKS
    unknown = [name for name in chosen if name not in BENCHMARKS]
    if unknown:
        raise SystemExit(f"There is no benchmark {unknown[0]}; there are {', '.join(BENCHMARKS)}.")
    sys.argv = sys.argv[:1]
    for name in chosen:
        print(f"\n== {name}", flush=True)
        runpy.run_path(str(HERE / f"{name}.py"), run_name="__main__")


if __name__ == "__main__":
    main()
