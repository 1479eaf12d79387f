"""The steps that only tell another host what to do.

Values reach its shell as parameters, or quoted by the one function that quotes.
"""

from __future__ import annotations

import os
import posixpath

from barman.clock import timestamp
from barman.errors import BarmanError
from barman.postgres.data_directory import CONTROL_FILE, MANIFEST, TABLESPACE_LINKS
from barman.restore.layouts import RECORD_NAME
from barman.restore.marker import MARKER_NAME
from barman.transport.files import run_script
from barman.transport.runner import quote
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from barman.restore.step import (
        LandControlFile,
        LinkTablespaces,
        PrepareDestination,
        RecordOrigin,
        RemoveStale,
        SyncPlaces,
    )
    from barman.restore.workbench import Workbench

_NAMES_AT_ONCE = 200

# $1 destination, $2 name of the marker, $3 the marker that was seen, $4 the new one, $5 whether a control file was
# seen; then all directories, the destination first. Nothing but the marker is written before it is durable.
_PREPARE = r"""
umask 077; destination=$1 name=$2 seen=$3 new=$4 started=$5; shift 5
for path do
  [ -d "$path" ] || { mkdir -p "$path" && flush "$path" "$(dirname "$path")"; } || exit 1
done
marker=$destination/$name
found=; if [ -f "$marker" ]; then found=$(cat "$marker"); fi
[ "$found" = "$seen" ] || refuse "another restore into '$destination' has begun meanwhile"
if [ "$started" = no ] && [ -e "$destination/global/pg_control" ]; then
  refuse "somebody has put a cluster into '$destination' meanwhile"
fi
printf '%s\n' "$new" > "$destination/.$name.$$.tmp" && flush "$destination/.$name.$$.tmp" &&
  mv -f "$destination/.$name.$$.tmp" "$marker" && flush "$destination" || exit 1
for item in global/pg_control recovery.signal standby.signal recovery.conf; do
  rm -f "$destination/$item" || exit 1
done
for path in "$destination" "$destination/global" "$@"; do
  [ -d "$path" ] || continue
  for item in "$path"/.*.[0-9]*.tmp; do if [ -f "$item" ]; then rm -f "$item" || exit 1; fi; done
  flush "$path"
done
"""
# $1 pg_tblspc, then pairs of name and location.
_LINK = r"""
directory=$1; shift; [ -d "$directory" ] || mkdir -m 700 "$directory" || exit 1
while [ $# -gt 1 ]; do
  if [ -L "$directory/$1" ]; then rm -f "$directory/$1" || exit 1; fi
  if [ -e "$directory/$1" ]; then refuse "'$directory/$1' is in the way"; fi
  ln -s "$2" "$directory/$1" || exit 1
  shift 2
done
"""
# $1 destination, $2 the marker's name, $3 its text, $4 size and $5 mode of the control file, which is the input: a
# connection that breaks looks like its end. Of two Barmans that share nothing only the later one gets here.
_LAND = r"""
umask 077; marker=$1/$2
[ "$(cat "$marker" 2>/dev/null)" = "$3" ] || refuse "another restore has taken '$1' over"
new=$1/global/.pg_control.$$.tmp; trap 'rm -f "$new"' EXIT
cat > "$new" || exit 1
[ "$(wc -c < "$new")" -eq "$4" ] || refuse "the control file did not arrive whole"
chmod "$5" "$new" && flush "$new" && mv -f "$new" "$1/global/pg_control" && flush "$1/global" || exit 1
rm -f "$marker" && flush "$1"
"""
_SYNC = r"""
for path do [ -d "$path" ] || refuse "'$path' is gone"; done
case $(sync --help 2>&1) in
  *--file-system*|*' -f'*) exec sync -f "$@";;
  *) exec sync;;
esac
"""


def prepare_destination(step: PrepareDestination, bench: Workbench) -> None:
    """Make the directories, take away what a server needs to start, and say whose files these will be. Durable.

    Raises FileFailed also when another restore has come in between, be it of another Barman.
    """
    host, _ = bench.remote
    bench.marker = new = step.marker.text(f"{os.uname().nodename} {os.getpid()} {timestamp()}").strip()
    values = [step.destination, MARKER_NAME, step.seen.strip(), new, "yes" if step.had_control_file else "no"]
    run_script(host.runner, f"prepare '{step.destination}'", _PREPARE, [*values, step.destination, *step.directories])
    bench.reporter.debug(f"'{step.destination}' is ready")


def remove_stale(step: RemoveStale, bench: Workbench) -> None:
    """Remove the named paths; a directory that holds something else, or is a mount point, stays."""
    host, _ = bench.remote
    for tree in step.trees:
        lines = [f"cd -P {quote(['--', tree.root])} || exit 1"]
        lines += [f"rm -f {quote(['--', *names])} || exit 1" for names in _portions(tree.files)]
        lines += [f"rmdir {quote(['--', f'./{name}'])} 2>/dev/null || :" for name in tree.directories]
        # A group is read to its end before any of it runs: of a script that was cut nothing does.
        script = "{\n" + "\n".join([*lines, "exit 0"]) + "\n}\n"
        run_script(
            host.runner,
            f"remove what the backup does not have from '{tree.root}'",
            "exec /bin/sh -s",
            (),
            stdin=os.fsencode(script),
        )


def _portions(names: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(names), _NAMES_AT_ONCE):
        # Relative, and never an option.
        yield [f"./{name}" for name in names[start : start + _NAMES_AT_ONCE]]


def link_tablespaces(step: LinkTablespaces, bench: Workbench) -> None:
    """Point `pg_tblspc/OID` to where each tablespace was restored; an older link is replaced."""
    if not step.links:
        return
    host, _ = bench.remote
    pairs = [word for link in step.links for word in (str(link.oid), link.location)]
    directory = posixpath.join(step.destination, TABLESPACE_LINKS)
    run_script(host.runner, f"link tablespaces in '{directory}'", _LINK, [directory, *pairs])
    for link in step.links:
        bench.reporter.info(f"\t{link.oid}, {link.name}, {link.location}")


def record_origin(step: RecordOrigin, bench: Workbench) -> None:
    """Leave the backup's record, and rename its manifest, which the restored cluster does not match any more."""
    host, _ = bench.remote
    with open(step.record, "rb") as file:
        host.files.write(posixpath.join(step.destination, RECORD_NAME), file.read(), 0o600)
    manifest = posixpath.join(step.destination, MANIFEST)
    script = 'if [ -f "$1" ]; then mv -f "$1" "$2"; fi'
    run_script(host.runner, f"rename '{manifest}'", script, [manifest, f"{manifest}.{step.backup_id}"])


def sync_places(step: SyncPlaces, bench: Workbench) -> None:
    """Make all that was restored durable: the file systems of the directories, or all where `sync` cannot choose."""
    host, _ = bench.remote
    bench.reporter.debug("syncing what was restored")
    run_script(host.runner, "sync what was restored", _SYNC, list(dict.fromkeys(step.directories)))


def land_control_file(step: LandControlFile, bench: Workbench) -> None:
    """Make the cluster complete: the control file arrives whole, in one rename, and then the marker goes.

    Raises FileFailed when the marker is not that of this run any more.
    """
    host, _ = bench.remote
    final = posixpath.join(step.destination, CONTROL_FILE)
    try:
        with open(step.source, "rb") as file:
            data, mode = file.read(), os.fstat(file.fileno()).st_mode & 0o7777
    except OSError as error:
        raise BarmanError(f"cannot read '{step.source}': {error.strerror}") from error
    values = [step.destination, MARKER_NAME, bench.marker, str(len(data)), f"{mode:o}"]
    run_script(host.runner, f"put '{final}' into place", _LAND, values, stdin=data)
    bench.reporter.debug(f"'{final}' is in place")
