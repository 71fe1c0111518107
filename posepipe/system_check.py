"""Which system libraries are missing, told before anything is imported that needs them.

Standard library only and no import of posepipe: `make demo` runs it with a bare Python before installing anything.
The list is what `ldd` says in a Debian root file system with nothing but Python: OpenCV's wheel needs these three,
MediaPipe's, PyAV's, ONNX Runtime's and h5py's bring everything else along.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class SystemLibrary:
    """soname: what the loader looks for. package: the Debian/Ubuntu package that holds it. wanted_by: who needs it."""

    soname: str
    package: str
    wanted_by: str


LIBRARIES = (
    SystemLibrary("libGL.so.1", "libgl1", "OpenCV"),
    SystemLibrary("libglib-2.0.so.0", "libglib2.0-0", "OpenCV"),
    SystemLibrary("libgthread-2.0.so.0", "libglib2.0-0", "OpenCV"),
)


def missing_libraries(libraries: tuple[SystemLibrary, ...] = LIBRARIES) -> tuple[SystemLibrary, ...]:
    """Those that the dynamic loader cannot load. Empty on systems other than Linux, whose wheels need none of them."""
    if not sys.platform.startswith("linux"):
        return ()
    return tuple(library for library in libraries if not _loads(library.soname))


def _loads(soname: str) -> bool:
    try:
        ctypes.CDLL(soname)
    except OSError:
        return False
    return True


def fix(missing: tuple[SystemLibrary, ...]) -> str:
    """The one command that installs them, or what to look for where there is no apt."""
    packages = " ".join(dict.fromkeys(library.package for library in missing))
    if shutil.which("apt-get") is None:
        return f"install what Debian calls {packages} ({', '.join(library.soname for library in missing)})"
    sudo = "" if os.geteuid() == 0 else "sudo "
    return f"{sudo}apt-get update && {sudo}apt-get install -y --no-install-recommends {packages}"


def main() -> int:
    """Say what is missing on stderr; 0 when nothing is."""
    missing = missing_libraries()
    if not missing:
        print("· system libraries: all there", flush=True)
        return 0
    names = ", ".join(library.soname for library in missing)
    print(f"System libraries are missing ({names}); install them, then run the same command again:", file=sys.stderr)
    print(f"    {fix(missing)}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
