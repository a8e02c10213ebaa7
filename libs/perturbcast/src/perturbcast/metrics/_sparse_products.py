"""Vector instructions for the product of a cell's non-zeros with a tile of other cells.

Written in LLVM's terms, because sums must stay in registers over all non-zeros: a loop over arrays is compiled with a
store and a check for overlap after every few of them, which takes twice as long.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from perturbcast.metrics.distance_tiles import WIDTH

__all__ = ["LANES", "add_products", "fetch"]

LANES = 16  # float32 numbers of a vector; a processor with shorter ones takes several instructions for each
VECTORS = WIDTH // LANES  # as many sums are under way at once as one addition takes cycles
UNROLLED = 4  # non-zeros per turn of the loop

_LONG, _SHORT, _FLOAT = ir.IntType(64), ir.IntType(32), ir.FloatType()
_VECTOR = ir.VectorType(_FLOAT, LANES)
_ALIGN = 4  # bytes: arrays may begin anywhere
_FUSED = ("contract",)


@intrinsic  # type: ignore[untyped-decorator]
def add_products(
    typing_context: Any,  # noqa: ARG001
    data: Any,
    genes: Any,
    first: Any,
    last: Any,
    tile: Any,
    product: Any,
    row: Any,
) -> Any:
    """``product[row] += sum(data[k] * tile[genes[k]] for k in range(first, last))``.

    Args:
        typing_context: numba's.
        data: float32 non-zeros.
        genes: uint32, the row of the tile that each goes with.
        first: first non-zero.
        last: one after the last.
        tile: [gene, WIDTH] float32.
        product: [row, WIDTH] float32.
        row: which row of ``product``.
    """
    signature = types.void(data, genes, first, last, tile, product, row)
    return signature, _generate


@intrinsic  # type: ignore[untyped-decorator]
def fetch(typing_context: Any, array: Any, position: Any) -> Any:  # noqa: ARG001
    """Have the processor bring what lies at a position of an array, counted without its axes, into its cache."""
    return types.void(array, position), _generate_fetch


def _generate_fetch(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    start = context.make_array(signature.args[0])(context, builder, arguments[0]).data
    place = builder.bitcast(builder.gep(start, [arguments[1]]), ir.IntType(8).as_pointer())
    kind = ir.FunctionType(ir.VoidType(), [place.type, _SHORT, _SHORT, _SHORT])
    for_reading, to_the_nearest, of_data = _SHORT(0), _SHORT(3), _SHORT(1)
    prefetch = builder.module.declare_intrinsic("llvm.prefetch", [place.type], kind)
    builder.call(prefetch, [place, for_reading, to_the_nearest, of_data])
    return context.get_dummy_value()


def _generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    data, genes, first, last, tile, product, row = arguments
    numbers, rows, width = (
        context.make_array(kind)(context, builder, array).data
        for kind, array in zip(signature.args[:2] + signature.args[4:5], (data, genes, tile), strict=True)
    )
    sums = context.make_array(signature.args[5])(context, builder, product).data
    tile_vectors, sum_vectors = (builder.bitcast(x, _VECTOR.as_pointer()) for x in (width, sums))

    def vectors(start: Any, row: Any) -> list[Any]:
        begin = builder.mul(row, _LONG(VECTORS))
        return [builder.gep(start, [builder.add(begin, _LONG(v))]) for v in range(VECTORS)]

    def added(k: Any, held: list[Any]) -> list[Any]:
        gene = builder.zext(builder.load(builder.gep(rows, [k]), align=_ALIGN), _LONG)
        number = builder.load(builder.gep(numbers, [k]), align=_ALIGN)
        one = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), number, _SHORT(0))
        first_lane = ir.Constant(ir.VectorType(_SHORT, LANES), [0] * LANES)
        every = builder.shuffle_vector(one, ir.Constant(_VECTOR, ir.Undefined), first_lane)
        others = [builder.load(place, align=_ALIGN) for place in vectors(tile_vectors, gene)]
        products = [builder.fmul(every, other, flags=_FUSED) for other in others]
        return [builder.fadd(x, y, flags=_FUSED) for x, y in zip(held, products, strict=True)]

    def loop(k: Any, stop: Any, step: int, held: list[Any]) -> tuple[Any, list[Any]]:
        before = builder.block
        head, body, after = (builder.append_basic_block(name) for name in ("head", "body", "after"))
        builder.branch(head)
        builder.position_at_end(head)
        here = builder.phi(_LONG)
        here.add_incoming(k, before)
        running = [builder.phi(_VECTOR) for _ in held]
        for phi, value in zip(running, held, strict=True):
            phi.add_incoming(value, before)
        builder.cbranch(builder.icmp_signed("<", here, stop), body, after)
        builder.position_at_end(body)
        new: list[Any] = running
        for turn in range(step):
            new = added(builder.add(here, _LONG(turn)), new)
        here.add_incoming(builder.add(here, _LONG(step)), builder.block)
        for phi, value in zip(running, new, strict=True):
            phi.add_incoming(value, builder.block)
        builder.branch(head)
        builder.position_at_end(after)
        return here, running

    places = vectors(sum_vectors, row)
    held = [builder.load(place, align=_ALIGN) for place in places]
    whole_turns = builder.add(first, builder.and_(builder.sub(last, first), _LONG(-UNROLLED)))
    k, held = loop(first, whole_turns, UNROLLED, held)
    _, held = loop(k, last, 1, held)
    for place, value in zip(places, held, strict=True):
        builder.store(value, place, align=_ALIGN)
    return context.get_dummy_value()
