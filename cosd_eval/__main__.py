"""`python -m cosd_eval` is `cosd-eval`."""

from cosd_eval.cli import main

if __name__ == "__main__":
    main()
