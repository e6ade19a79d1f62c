"""Prints the grids of src/source/decode/points.rs from the Python package gguf (pip install gguf).

A grid is a set of points; its index is a point's rank by the number that the point's levels spell in base
`levels`, first coordinate lowest. So a grid is kept as the set of those numbers: bit b of character c, less '0',
says whether 6·c + b is in it.
"""

from gguf import quants

GRIDS = ["IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ1_S"]

for name in GRIDS:
    type_ = getattr(quants, name)
    type_.init_grid()
    levels = [int(level) for level in type_.grid_map]
    points = type_.grid.reshape(type_.grid_shape)
    numbers = [sum(levels.index(int(x)) * len(levels) ** i for i, x in enumerate(p)) for p in points]
    assert numbers == sorted(set(numbers))
    bits = sum(1 << n for n in numbers)
    text = ""
    while bits:
        text += chr(ord("0") + (bits & 63))
        bits >>= 6
    print(f"static {name}: [[i8; {points.shape[1]}]; {points.shape[0]}] = points(&{levels}, r\"")
    for at in range(0, len(text), 110):
        print(text[at : at + 110])
    print("\");")
