"""What the ledger has acknowledged survives `kill -9`."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

from sqlalchemy import text

from features.kernel.ledger import Ledger

_WRITER = """
import sys
from datetime import UTC, datetime
from features.kernel.events import Event
from features.kernel.group_commit import GroupCommit
from features.kernel.ledger import Ledger

t0 = datetime(2026, 5, 1, 12, tzinfo=UTC)
ledger = Ledger(sys.argv[1])
commit = GroupCommit(ledger)
waiting = []
for i in range(10**9):
    one = Event(event_id=f"{sys.argv[2]}-{i}", customer_id="c1", type="page_view", occurred_at=t0, received_at=t0)
    waiting.append((one.event_id, commit.submit(lambda connection, one=one: ledger.append_events([one], connection))))
    if len(waiting) >= 64:
        name, future = waiting.pop(0)
        assert future.result()[0].status == "accepted"
        print(name, flush=True)
"""


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    acknowledged: list[str] = []
    for turn in range(4):
        writer = subprocess.Popen([sys.executable, "-c", _WRITER, url, str(turn)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        for _ in range(150 + 97 * turn):
            acknowledged.append(writer.stdout.readline().strip())
        writer.send_signal(signal.SIGKILL)
        rest, _ = writer.communicate()
        acknowledged += rest.split("\n")[:-1]  # a last line without its end was not read
        assert writer.returncode == -signal.SIGKILL
    ledger = Ledger(url)
    kept = Counter(row[0] for part in ledger.events() for row in part)
    assert set(acknowledged) <= kept.keys() and set(kept.values()) == {1} and len(acknowledged) > 1000
    with ledger.engine.connect() as connection:
        assert connection.execute(text("PRAGMA integrity_check")).scalar() == "ok"
        assert connection.execute(text("PRAGMA synchronous")).scalar() == 2, "FULL: a commit is flushed to the disk"
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
    ledger.close()
