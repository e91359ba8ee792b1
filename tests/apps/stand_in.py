"""A supervisor that a test may kill: starts a template, forks one app, lets it spin, prints the pids.

Run with the tests' interpreter; it waits for ever once the app spins.
"""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import msgspec

from htagweb.host import frames, process

process.become_subreaper()
mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
command = f"{sys.executable} -m htagweb.host.template --fd {theirs.fileno()} --app samples.Troubled"
options = f"--app-dir {Path(__file__).parent} --supervisor-pid {os.getpid()}"
template = subprocess.Popen(f"{command} {options}".split(), pass_fds=[theirs.fileno()])
frames.decode_from_template(mine.recv(frames.MAX_PACKET_BYTES))
app, app_end = socket.socketpair()
output, output_end = os.pipe()
packet = frames.encode_packet(frames.Fork("i", 1))
socket.send_fds(mine, [packet], [app_end.fileno(), output_end])
forked = frames.decode_from_template(mine.recv(frames.MAX_PACKET_BYTES))
assert isinstance(forked, frames.Forked)
app.sendall(frames.encode(frames.Start("samples.Troubled", [], {}, {}, False, "r")))
found = re.search(rb'<body id=\\"(\d+)', app.recv(1 << 20))
assert found
call = b'{"id":%s,"method":"spin"}' % found[1]
app.sendall(frames.encode(frames.Interact("p", 1, msgspec.Raw(call))))
assert os.read(output, 100) == b"spinning\n"
print(template.pid, forked.pid, flush=True)
template.wait()
