"""A libtorrent at a SAM bridge: `torrent.py FOLDER TORRENT HASH`. It seeds what FOLDER has of the torrent and fetches the rest.

Says, a line each: `version V`; each second `at BYTES peers N`; `done SECONDS` when all is there and its SHA-256 is HASH;
`bridge ...` for what libtorrent says of the bridge. `torrent.py make FILE TORRENT TRACKER` makes a torrent.
"""

import hashlib
import os
import sys
import time

import libtorrent as lt

LOG = "TORRENT_LOG" in os.environ


def make(path, torrent, tracker):
    files = lt.file_storage()
    lt.add_files(files, path)
    made = lt.create_torrent(files, 256 * 1024, lt.create_torrent.v1_only)
    made.add_tracker(tracker)
    lt.set_piece_hashes(made, path.rsplit("/", 1)[0])
    with open(torrent, "wb") as out:
        out.write(lt.bencode(made.generate()))


def share(folder, torrent, wanted):
    say("version", lt.__version__)
    session = lt.session({
        "i2p_hostname": "127.0.0.1",
        "i2p_port": 7656,
        "enable_dht": False,
        "enable_lsd": False,
        "enable_upnp": False,
        "enable_natpmp": False,
        "listen_interfaces": "127.0.0.1:0",
        "alert_mask": lt.alert.category_t.error_notification | lt.alert.category_t.status_notification
        | lt.alert.category_t.tracker_notification
        | (lt.alert.category_t.peer_log_notification | lt.alert.category_t.session_log_notification if LOG else 0),
    })
    params = lt.add_torrent_params()
    params.ti = lt.torrent_info(torrent)
    params.save_path = folder
    handle = session.add_torrent(params)
    begin, last, said, announced = time.time(), None, 0, 0
    while True:
        time.sleep(0.2)
        for alert in session.pop_alerts():
            text = alert.message()
            kind = type(alert).__name__
            if kind in ("i2p_alert", "listen_failed_alert"):
                say("bridge", text)
            elif kind in ("tracker_error_alert", "torrent_error_alert", "tracker_reply_alert"):
                say("tracker", text)
            elif LOG:
                say("log", text)
        status = handle.status()
        now = time.time()
        if now - said >= 1:
            said = now
            say("at", status.total_done, "peers", status.num_peers)
        # Trackers of I2P have people announce each half minute at most; here is no crowd to be spared.
        if now - announced >= 5 and (not status.num_peers):
            announced = now
            handle.force_reannounce(0, -1, lt.reannounce_flags_t.ignore_min_interval)
        if status.is_seeding and last is None:
            last = now
            digest = hashlib.sha256(open(folder + "/" + params.ti.name(), "rb").read()).hexdigest()
            say("done" if digest == wanted else "wrong", round(now - begin, 1))


def say(*words):
    print(*words, flush=True)


if sys.argv[1] == "make":
    make(*sys.argv[2:])
else:
    share(*sys.argv[1:])
