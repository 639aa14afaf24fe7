"""A faithful ComfyUI worker without a GPU, for the demo, the tests and the benchmarks.

One process may hold many: nothing is global, each `build(settings)` is a worker of its own.
"""
