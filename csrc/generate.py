"""What the C library has from kernel/, where it is written once: the models, and the formulas and accounts for one VM.

xenmem_inline.h is translated from kernel/scalar.py and kernel/accounts.py; models.c holds the constants of
kernel/model.py. Run as a program: writes both into the folder that is its argument. Needs Python alone.
"""

import re
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

CSRC = Path(__file__).resolve().parent
KERNEL = CSRC.parent / "xenmem" / "kernel"  # in a checkout the link, in an sdist the folder
sys.path.insert(0, str(CSRC))

from translate import POINTER, Record, Type, translate  # noqa: E402

HEADER = (CSRC / "xenmem.h").read_text()


def _model() -> Any:
    """kernel/model.py, without the rest of its package, which needs more than Python."""
    package = ModuleType("xenmem_kernel")
    package.__path__ = [str(KERNEL)]
    sys.modules[package.__name__] = package
    return import_module("xenmem_kernel.model")


def _foreign() -> dict[str, Type]:
    """A model as xenmem.h has it."""
    declared = re.search(r"typedef struct xenmem_model \{(.*?)\} xenmem_model;", HEADER, re.DOTALL)
    assert declared is not None
    fields: dict[str, Type] = {
        name: POINTER if extent else "int64_t" for name, extent in re.findall(r"int64_t (\w+)(\[)?", declared[1])
    }
    return {"OverheadModel": Record("const xenmem_model *", fields, "->"), "PerDomainType": POINTER}


def inline(names: tuple[str, ...] = ("scalar", "accounts")) -> str:
    """The formulas, and what they stand on, as C that can be put into another file."""
    translated = translate(*(KERNEL / f"{name}.py" for name in names), foreign=_foreign())
    text = f"{(CSRC / 'numbers.h').read_text()}\n{translated.types}\n{translated.definitions}"
    text = re.sub(r"\bstatic (?!inline)", "XENMEM_INLINE ", text)
    text = re.sub(r"XENMEM_INLINE (?=\S+(?: \*)? \w+__)", "static inline ", text)  # helpers stay within the file
    text = re.sub(r"\bscalar_(?=\w+\()", "xenmem_one_", text)
    text = re.sub(r"\baccounts_(?=\w+\()", "xenmem_accounts_", text).replace("xm_Arrays", "xenmem_accounts")
    return re.sub(r"\bxm_", "xenmem_", re.sub(r"\bv_", "", text)).replace("XM_", "XENMEM_")


def inline_header() -> str:
    return f"""/* Formulas for one VM, and accounts of hosts' free memory, to compile into a loop of one's own.
 * Nothing is checked: arguments must lie in the domain that xenmem.h gives. libxenmem has the same functions, for
 * languages that cannot include this. Made by generate.py from kernel/scalar.py and kernel/accounts.py, which say what
 * each function does. */
#ifndef XENMEM_INLINE_H
#define XENMEM_INLINE_H

#include "xenmem.h"

#ifndef XENMEM_INLINE
#define XENMEM_INLINE static inline
#endif

{inline()}
#endif
"""


def models() -> str:
    """C of the models by name, which version has which, and what each status means."""
    model = _model()
    names = list(model.MODELS)
    fields = list(_foreign()["OverheadModel"].fields)  # type: ignore[union-attr]

    def constant(value: int | tuple[int, ...]) -> str:
        return f"{{{', '.join(map(str, value))}}}" if isinstance(value, tuple) else str(value)

    def constants(name: str) -> str:
        return ", ".join(f".{field} = {constant(getattr(model.MODELS[name], field))}" for field in fields)

    known = {name: name for name in names} | {product: model.model_name_for(product) for product in model.PRODUCTS}
    statuses = re.search(r"typedef enum xenmem_status \{(.*?)\}", HEADER, re.DOTALL)
    assert statuses is not None
    bad = [name.lower() for name in re.findall(r"XENMEM_BAD_(\w+)", statuses[1])]
    new = "\n".join(f"    {{{first[0]}, {first[1]}, {names.index(name)}}}," for first, name in model.SINCE)
    return f"""/* Made by generate.py from kernel/model.py and xenmem.h. */
#include "xenmem.h"

#include <ctype.h>
#include <string.h>

static const xenmem_model models[] = {{
{chr(10).join(f"    {{{constants(name)}}}," for name in names)}
}};

static const struct {{ const char *name; int model; }} known[] = {{
{chr(10).join(f'    {{"{name}", {names.index(of)}}},' for name, of in known.items())}
}};

static const struct {{ long major, minor; int model; }} since[] = {{
{new}
}};

static const char *const texts[] = {{"", {", ".join(f'"{name}: out of range"' for name in bad)}}};

/* Up to nine digits; where they end, or NULL. */
static const char *number(const char *text, long *value)
{{
    const char *const begin = text;
    for (*value = 0; isdigit((unsigned char)*text) && text - begin < 9; text++)
        *value = 10 * *value + (*text - '0');
    return text > begin ? text : NULL;
}}

const xenmem_model *xenmem_model_for(const char *version)
{{
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i].name, version) == 0)
            return &models[known[i].model];
    long major, minor = 0;
    const char *rest = number(version, &major);
    if (!rest || (major >= 2 && major <= 20)) /* xapi has been 0.x, 1.x, and the year from 21 on */
        return NULL;
    if (*rest == '.' && (rest = number(rest + 1, &minor)) && *rest && !strchr(".-+~", *rest))
        return NULL;
    if (!rest || (*rest && !strchr(".-+~", *rest)) || strpbrk(rest, " \\t\\n\\r\\f\\v"))
        return NULL;
    size_t i = 0;
    while (major < since[i].major || (major == since[i].major && minor < since[i].minor))
        i++;
    return &models[since[i].model];
}}

const char *xenmem_status_text(xenmem_status status)
{{
    return (size_t)status < sizeof texts / sizeof texts[0] ? texts[status] : "no status of this library";
}}
"""


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "xenmem_inline.h").write_text(inline_header())
    (folder / "models.c").write_text(models())
    (folder / "inline.c").write_text('#define XENMEM_INLINE\n#include "xenmem_inline.h"\n')


if __name__ == "__main__":
    main()
