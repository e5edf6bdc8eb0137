"""Recipes, one file per paper; `get` finds a recipe by the name of its file.

Recipes of other packages are found by their address, "package.module:function", or by the name under which the
package declares them in the entry-point group `megalabel.recipes`.
"""

from __future__ import annotations

from megalabel.recipes.find import Listed, from_preset, get, listed, names

__all__ = ["Listed", "from_preset", "get", "listed", "names"]
