"""Becomes a container's process: its file system, its user, no right that the manifests do not give.

Usage: container.py PROGRAM-IN-IMAGE USER GROUP SOURCE=TARGET … -- COMMAND …, in a mount namespace of its own.
"""
import ctypes, os, pathlib, subprocess, sys

PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38
LAST_CAPABILITY = 40


def mount(*options):
    subprocess.run(["mount", *map(str, options)], check=True)


program, user, group, *rest = sys.argv[1:]
mounts, command = rest[: rest.index("--")], rest[rest.index("--") + 1 :]
image = pathlib.Path(program).parents[2]
# An image is shared; what a container sees besides, and where it is mounted, is its own.
root = pathlib.Path("/mnt")
mount("-t", "tmpfs", "container", root)
(root / "upper").mkdir(), (root / "work").mkdir(), (root / "seen").mkdir()
mount("-t", "overlay", "overlay", "-o", f"lowerdir={image},upperdir={root}/upper,workdir={root}/work", root / "seen")
root = root / "seen"
for folder in ("proc", "dev"):
    (root / folder).mkdir(exist_ok=True)
    mount("--rbind", f"/{folder}", root / folder)
for source, target in (pair.split("=") for pair in mounts):
    place = root / target.lstrip("/")
    if pathlib.Path(source).is_dir():
        place.mkdir(parents=True)
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    mount("--bind", source, place)
    mount("-o", "remount,bind,ro", place)
mount("-o", "remount,ro", root)

libc = ctypes.CDLL(None, use_errno=True)
os.chroot(root)
os.chdir("/")
for capability in range(LAST_CAPABILITY + 1):
    libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
os.setgroups([int(group)])
os.setresgid(*[int(group)] * 3)
os.setresuid(*[int(user)] * 3)
if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
    sys.exit("privileges could still be gained")
os.execv(command[0], command)
