"""Binary search in sorted arrays, for compiled code."""

from megalabel.kernels.core._cpu.pointers import inlined


@inlined
def lower_bound(rising, first, last, value):
    """The first position from `first` to `last` - 1 whose number is not below `value`, or `last` if there is none.

    rising: an array or a pointer, sorted from `first` to `last` - 1.
    """
    while first < last:
        middle = (first + last) >> 1
        if rising[middle] < value:
            first = middle + 1
        else:
            last = middle
    return first
