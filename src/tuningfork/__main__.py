"""`python -m tuningfork` is the command line."""

from tuningfork.cli import main

if __name__ == "__main__":
    main()
