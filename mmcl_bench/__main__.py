"""``python -m mmcl_bench``."""

from mmcl_bench.cli import main

if __name__ == "__main__":
    main()
