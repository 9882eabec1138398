"""The project's own tools behind the Makefile: set-up, `make run`, `make test`, `make check`.

Everything here runs on a bare Python with the standard library only, because it is what installs
the rest.
"""
