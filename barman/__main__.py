"""Run the command line with `python -m barman`."""

from barman.cli.main import main

if __name__ == "__main__":
    main()
