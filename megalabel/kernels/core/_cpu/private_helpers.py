"""Compiles functions with numba so that their machine code calls no helper outside of it.

By default the machine code of a function contains its helpers as symbols that the first loaded definition in the
process wins. Where a function is compiled, that is the helper as it was compiled by itself; where its machine code
comes from the disk cache, it is the copy that was optimized together with the function. The two may fuse other
products with sums, so that a run that was resumed would differ in the last bit from one that was not.
"""

from __future__ import annotations

import functools
from typing import Any


@functools.cache
def compiler() -> type[Any]:
    """The compiler to give to numba as `pipeline_class`.

    It makes helpers private before a function is optimized. Needs the class of numba's code libraries, which is
    not public; `tests/kernels/core/test_private_helpers.py` fails with a numba that no longer uses it.

    Raises:
        ImportError, AttributeError: this numba has no such class.
    """
    from llvmlite.binding import Linkage  # type: ignore[import-untyped]
    from numba.core.codegen import JITCodeLibrary
    from numba.core.compiler import Compiler
    from numba.core.compiler_machinery import LoweringPass, register_pass
    from numba.core.typed_passes import AnnotateTypes

    class Library(JITCodeLibrary):  # type: ignore[misc]
        def _optimize_final_module(self) -> None:
            for function in self._final_module.functions:
                if not function.is_declaration and function.linkage == Linkage.linkonce_odr:
                    function.linkage = Linkage.internal
            super()._optimize_final_module()

    @register_pass(mutates_CFG=False, analysis_only=True)
    class OwnLibrary(LoweringPass):  # type: ignore[misc]
        """Creates the library into which the next pass compiles, as that pass would do."""

        _name = "megalabel_own_library"

        def __init__(self) -> None:
            LoweringPass.__init__(self)

        def run_pass(self, state: Any) -> bool:
            state.library = Library(state.targetctx.codegen(), state.func_id.func_qualname)
            state.library.enable_object_caching()
            return False

    class PrivateHelpers(Compiler):  # type: ignore[misc]
        def define_pipelines(self) -> list[Any]:
            pipelines: list[Any] = super().define_pipelines()
            for pipeline in pipelines:
                pipeline.add_pass_after(OwnLibrary, AnnotateTypes)
                pipeline.finalize()
            return pipelines

    JITCodeLibrary._optimize_final_module  # noqa: B018  # AttributeError where it has another name
    return PrivateHelpers
