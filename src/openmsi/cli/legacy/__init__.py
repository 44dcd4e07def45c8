"""The commands of the OpenMSI programs, of 2021 and of today: their arguments and their words, and
underneath them the same senders and receivers as those of `openmsi`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from openmsi.cli.entry import guarded
from openmsi.cli.legacy import arguments as has
from openmsi.cli.legacy.arguments import Arguments, Program, parse
from openmsi.cli.legacy.programs import receive, send_directory, send_file

_CRYPTO = (
    "--treat_undecryptable_as_plaintext",
    "--max_wait_per_decrypt",
    "--max_initial_wait_per_decrypt",
)
_OTHER_TOPICS = ("--consumer_topic_name", "--producer_topic_name")

_SEND_FILE = "Send one file to a topic."
_SEND_DIRECTORY = "Send the files that appear in a directory to a topic, until stopped."
_RECEIVE = "Rebuild the files of a topic in a directory, until stopped."
_KEYS = " Type c to see how far it is, q to quit."

_OF_2021 = {"config": "test", "topic_name": "lecroy_files", "threads": 5}
_OF_TODAY = {"config": "test", "topic_name": "test", "threads": 2}

_UPLOAD_2021 = Program(
    "upload_data_file",
    _SEND_FILE,
    "FILE",
    " at",
    {**_OF_2021, "chunk_size": 16384},
    (has.common, has.chunks),
)
_WATCH_2021 = Program(
    "upload_data_files_added_to_directory",
    _SEND_DIRECTORY + _KEYS,
    "DIR",
    " at",
    {**_OF_2021, "chunk_size": 16384, "update_seconds": 30},
    (has.common, has.chunks, has.queue, has.updates, has.new_only),
)
_RECEIVE_2021 = Program(
    "reconstruct_data_files",
    _RECEIVE + _KEYS,
    "DIR",
    " at",
    {**_OF_2021, "update_seconds": 30},
    (has.common, has.updates, has.group_of_2021),
)
_UPLOAD = Program(
    "UploadDataFile",
    _SEND_FILE,
    "FILE",
    "",
    {**_OF_TODAY, "chunk_size": 524_288},
    (has.common, has.chunks, has.logs),
)
_WATCH = Program(
    "DataFileUploadDirectory",
    _SEND_DIRECTORY + _KEYS,
    "DIR",
    "",
    {**_OF_TODAY, "chunk_size": 524_288, "update_seconds": 300},
    (
        has.common,
        has.chunks,
        has.queue,
        has.updates,
        has.watching,
        has.group_of_sender,
        has.logs,
        has.told,
        has.without_use("--use_polling_observer", *_OTHER_TOPICS, *_CRYPTO),
    ),
)
_RECEIVE_TODAY = Program(
    "DataFileDownloadDirectory",
    _RECEIVE + _KEYS,
    "DIR",
    "",
    {**_OF_TODAY, "update_seconds": 300, "consumer_group_id": "create_new"},
    (
        has.common,
        has.updates,
        has.group,
        has.logs,
        has.told,
        has.without_use("--download_regex", *_OTHER_TOPICS, *_CRYPTO),
    ),
)


def _script(program: Program, run: Callable[[Arguments], None]) -> Callable[[], None]:
    return partial(guarded, program.name, lambda: run(parse(program)))


upload_data_file = _script(_UPLOAD_2021, send_file)
upload_data_files_added_to_directory = _script(_WATCH_2021, send_directory)
reconstruct_data_files = _script(_RECEIVE_2021, receive)
upload_data_file_today = _script(_UPLOAD, send_file)
data_file_upload_directory = _script(_WATCH, send_directory)
data_file_download_directory = _script(_RECEIVE_TODAY, receive)
