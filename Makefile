# Thin names for `python3 dev.py ...`, which does all the set-up. ARGS="..." is passed on.
PYTHON ?= python3

.PHONY: demo test lint bench soak idle fuzz simulate test-real lock
demo test lint bench soak idle fuzz simulate test-real lock:
	$(PYTHON) dev.py $@ $(ARGS)
