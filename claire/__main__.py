"""`python -m claire`: the same door as the `claire` command."""

from claire.main import main

if __name__ == "__main__":
    main()
