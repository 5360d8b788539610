"""The MLP and the CNN of ``real_models.py`` by neural-tangents: one line of JSON with the fastest of its methods.

    ENV/bin/python benchmarks/jax_peer.py mlp|cnn

neural-tangents 0.6.5 does not import with a current jax; an environment of its own that works is
``pip install jax==0.4.23 jaxlib==0.4.23 'numpy<2' 'scipy<1.13' neural-tangents==0.6.5``. Compilation is not
counted; nor are products of every pair, which take far longer than the other two methods here.
"""

import json
import statistics
import sys
import time


def main(which: str) -> None:
    import neural_tangents as nt
    from jax import jit, random
    from neural_tangents import stax

    if which == "mlp":
        layers = [layer for _ in range(3) for layer in (stax.Dense(512), stax.Relu())]
        init, apply, _ = stax.serial(*layers, stax.Dense(10))
        x = random.normal(random.PRNGKey(1), (64, 784))
    else:
        layers = []
        for channels in (64, 128, 256):
            layers += [stax.Conv(channels, (3, 3), padding="SAME"), stax.Relu()]
            layers += [stax.AvgPool((2, 2), (2, 2))] if channels < 256 else [stax.GlobalAvgPool()]
        init, apply, _ = stax.serial(*layers, stax.Dense(10))
        x = random.normal(random.PRNGKey(1), (64, 32, 32, 3))
    _, params = init(random.PRNGKey(0), x.shape)
    best: dict[str, object] = {}
    for method in (nt.NtkImplementation.STRUCTURED_DERIVATIVES, nt.NtkImplementation.JACOBIAN_CONTRACTION):
        kernel = jit(nt.empirical_ntk_fn(apply, trace_axes=(), vmap_axes=0, implementation=method))
        try:
            kernel(x, None, params).block_until_ready()
            taken, processor = [], []
            for _ in range(5):
                start, cpu = time.perf_counter(), time.process_time()
                kernel(x, None, params).block_until_ready()
                taken.append(time.perf_counter() - start)
                processor.append(time.process_time() - cpu)
        except Exception as error:
            print(f"{method.name}: {type(error).__name__}", file=sys.stderr)
            continue
        seconds, cpu = statistics.median(taken), statistics.median(processor)
        print(f"{method.name}: {seconds:.3f} s, {cpu:.3f} s of the processor", file=sys.stderr)
        if not best or cpu < best["cpu"]:
            best = {"method": method.name.lower().replace("_", " "), "seconds": seconds, "cpu": cpu}
    print(json.dumps(best))


if __name__ == "__main__":
    if len(sys.argv) == 2:
        main(sys.argv[1])
    else:
        print("for real_models.py, or by itself with mlp or cnn")
