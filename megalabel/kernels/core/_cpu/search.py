"""Binary search in rising numbers, for compiled code."""

from megalabel.kernels.core._cpu.pointers import inlined


@inlined
def lower_bound(rising, first, last, value):
    """The first place from `first` up to `last` whose number is not below `value`; `last` where there is none.

    rising: an array or a pointer, whose numbers rise from `first` to `last` - 1.
    """
    while first < last:
        middle = (first + last) >> 1
        if rising[middle] < value:
            first = middle + 1
        else:
            last = middle
    return first
