"""The contestants' pages and messages, as they came from each of them; ids and times are made equal.

Of htagweb 1.0.0 and 0.60.3, htag 2.0.28, NiceGUI 3.18.0 and Streamlit 1.67.0; what this project and the
floor say comes from their own code.
"""

from __future__ import annotations

import json
import re
import socket
from abc import abstractmethod
from collections.abc import Iterable
from threading import Thread
from typing import ClassVar

from benchmarks.floor.app import App as FloorApp
from benchmarks.load.users import User
from benchmarks.load.users.floor import FloorUser
from benchmarks.load.users.htag import HtagUser
from benchmarks.load.users.htag2 import Htag2User
from benchmarks.load.users.nicegui import NiceGuiUser
from benchmarks.load.users.streamlit import StreamlitUser
from tests.benchmarks.load.site import Site

TIMES = ("45558.5", "45558.834426307", "45559.0")
"""What is pushed."""
BODY, SHOWN, PUSHED = 140185007148240, 140185007149648, 140185007155408


class Counter(Site):
    """The counter of a contestant; it counts the clicks that are what the contestant takes for one."""

    kind: ClassVar[type[User]]
    failure: ClassVar[bytes] = b""
    """What is said when the app fails; empty where that is not told."""
    other: ClassVar[bytes]
    """A message that shows no number."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0

    @abstractmethod
    def is_click(self, message: bytes) -> bool:
        """Return whether the contestant would count it."""

    @abstractmethod
    def shows(self, number: int) -> list[bytes]:
        """Return what is said after a click."""

    def answer(self, message: bytes) -> Iterable[bytes]:
        """Count a click; nothing is said to anything else."""
        if not self.is_click(message):
            return ()
        self.number += 1
        return self.shows(self.number)

    def pushes(self) -> list[bytes]:
        """Return what is said while the app pushes all times."""
        return []


class Release(Counter):
    """htagweb 1.0.0 or 0.60.3."""

    kind = HtagUser
    cookie = "session=9d63f170-97f4-45e9-9970-64155497adcc"
    sets_cookie_again = True
    failure = b'{"err": "division by zero"}'
    other = b"{}"

    @property
    def document(self) -> str:
        """The page."""
        return (
            '<!DOCTYPE html><html><head><meta charset="utf-8"></meta><script>\n'
            'if(key==0)\n document.body.outerHTML = o["update"][0];\n'
            "async function _read_(x) {return x}\nlet webroot = '/';\n"
            'function connect() {\n _WS_= new WebSocket("//" + location.host + webroot + "_/counter.App");\n'
            f'</script><title>App</title></head><body id="{BODY}"><h1 id="140185007156496">A counter</h1>'
            '<button onclick="try{interact( {&quot;id&quot;: 140185007148240, &quot;method&quot;: '
            '&quot;increment&quot;} );} catch(e) {_error(e,&quot;JS&quot;)}" id="140185007154256">+1</button>'
            f'<b class="number" id="{SHOWN}">{self.number}</b><b class="pushed" id="{PUSHED}"></b>'
            "</body></html>"
        )

    def is_click(self, message: bytes) -> bool:
        """Return whether it is a call of the app's method."""
        call = json.loads(message)
        return (call["id"], call["method"], call["args"], call["kargs"]) == (BODY, "increment", [], {})

    def shows(self, number: int) -> list[bytes]:
        """Return the action."""
        shown = f'<b class="number" id="{SHOWN}">{number}</b>'
        return [json.dumps({"update": {str(SHOWN): shown}}).encode()]


class Htag2(Counter):
    """htag 2's WebApp."""

    kind = Htag2User
    cookie = "htag_sid=b5ab1d0e-5a4c"
    sets_cookie_again = True
    failure = (
        b'{"action": "error", "traceback": "Internal Server Error", "callback_id": "c1", "result": null}'
    )
    other = (
        b'{"action": "update", "updates": {}, "js": [], "statics": [], "callback_id": "p", "result": null}'
    )
    button, pusher = f"button-{BODY}", f"b-{PUSHED}"

    @property
    def body(self) -> str:
        """The page's body."""
        return (
            f'<body id="body-{BODY}"><h1 id="h1-1">A counter</h1>'
            f"<button onclick=\"htag_event('{self.button}', 'click', event)\""
            f' id="{self.button}">+1</button>'
            f'<b class="number" id="b-{SHOWN}">{self.number}</b>{self.pushed("")}</body>'
        )

    def pushed(self, text: str) -> str:
        """Return the element that is pushed."""
        call = f"htag_event('{self.pusher}', 'push', event)"
        return f'<b class="pushed" onpush="{call}" id="{self.pusher}">{text}</b>'

    @property
    def document(self) -> str:
        """The page."""
        return f"\n<!DOCTYPE html>\n<html>\n<head>\n<title>App</title>\n</head>\n{self.body}\n</html>\n"

    @property
    def greeting(self) -> tuple[bytes, ...]:
        """The whole body once more."""
        whole = {"action": "update", "updates": {f"body-{BODY}": self.body}, "js": []}
        return (json.dumps(whole).encode(),)

    def is_click(self, message: bytes) -> bool:
        """Return whether it is an event of the button."""
        event = json.loads(message)
        return (event["id"], event["event"]) == (self.button, "click") and "callback_id" in event["data"]

    def shows(self, number: int) -> list[bytes]:
        """Return the update."""
        return [self._update(f"b-{SHOWN}", f'<b class="number" id="b-{SHOWN}">{number}</b>')]

    def pushes(self) -> list[bytes]:
        """Return the updates, and that of the end."""
        return [self.other, *(self._update(self.pusher, self.pushed(text)) for text in (*TIMES, "end"))]

    def _update(self, key: str, text: str) -> bytes:
        return json.dumps({"action": "update", "updates": {key: text}, "js": [], "statics": []}).encode()


class NiceGui(Counter):
    """NiceGUI."""

    kind = NiceGuiUser
    failure = b'44{"message":"Connection rejected by server"}'
    other = b'42["run_javascript",{"code":"1","request_id":null}]'
    opened = b'0{"sid":"pqUQ","upgrades":[],"pingTimeout":2000,"pingInterval":4000,"maxPayload":1000000}'
    client, click, push = "d514ae30-e19e-4e47-8f50-24ffdea3f92d", "45d0841e-f7ff", "6b57afbd-c030"
    query = (
        "{'client_id': 'd514ae30-e19e-4e47-8f50-24ffdea3f92d', 'next_message_id': 0, "
        "'implicit_handshake': True}"
    )
    listener = '{"listener_id":"%s","type":"%s","specials":[],"modifiers":[],"keys":[],"args":null}'
    elements = (
        '{"0":{"tag":"q-layout","class":["nicegui-layout"],"props":{"view":"hhh lpr fff"},"children":[1],'
        f'"events":[{listener % ("8f959b38", "sub_pages_open")}]}},'
        '"4":{"tag":"nicegui-html","props":{"innerHTML":"&lt;h1&gt;A counter&lt;/h1&gt;","tag":"div"}},'
        f'"5":{{"tag":"q-btn","props":{{"label":"+1"}},"events":[{listener % (click, "click")}]}},'
        '"6":{"tag":"div","text":"0","class":["number"]},'
        f'"7":{{"tag":"div","text":"","class":["pushed"],"events":[{listener % (push, "push")}]}}}}'
    )

    @property
    def document(self) -> str:
        """The page."""
        return (
            '<!doctype html>\n<html dir="ltr">\n<body>\n<script type="module">\n'
            f"const app = createApp(parseElements(String.raw`{self.elements}`), {{\n"
            f'        version: "3.18.0",\n        prefix: "",\n        query: {self.query},\n'
            "        extraHeaders: {},\n        transports: ['websocket', 'polling'],\n      });\n"
            "</script>\n</body>\n</html>\n"
        )

    @property
    def greeting(self) -> tuple[bytes, ...]:
        """What engine.io says first."""
        return (self.opened,)

    def answer(self, message: bytes) -> Iterable[bytes]:
        """Take socket.io's connect and engine.io's pong too."""
        if message == b"40":
            return (b'40{"sid":"rMFM"}',)
        return () if message == b"3" else super().answer(message)

    def is_click(self, message: bytes) -> bool:
        """Return whether it is an event of the button's listener."""
        expected = {"id": 5, "listener_id": self.click, "client_id": self.client, "args": []}
        return message[:2] == b"42" and json.loads(message[2:]) == ["event", expected]

    def shows(self, number: int) -> list[bytes]:
        """Return the update of the outbox."""
        return [
            b'42["update",{"6":{"tag":"div","text":"%d","class":["number"]},"_id":%d}]' % (number, number)
        ]

    def pushes(self) -> list[bytes]:
        """Return the updates, and that of the end."""
        events = self.listener % (self.push, "push")
        element = '{"tag":"div","text":"%s","class":["pushed"],"events":[%s]}'
        made = (f'42["update",{{"7":{element % (text, events)},"_id":1}}]' for text in (*TIMES, "end"))
        return [each.encode() for each in made]


class Streamlit(Counter):
    """Streamlit: the messages of one run, with the fields that its protobuf has."""

    kind = StreamlitUser
    is_binary = True
    failure = (
        b'\n 5781d38f67482b6ce37e1974a7a739ed\x12&\x12\x02\x00\x02" 5d25f6f51581203e5a77e909d417b890*w\x1au'
        b"Bs\n\x11ZeroDivisionError\x12\x10division by zero"
        b'\x1aHFile "/apps/streamlit_page.py", line 10, in <module>\n    1 / 0\n    ~~^~~2\x02\x08\x01'
    )
    """A delta with an exception element: type, message, stack trace, width."""
    other = b"J\x02\x10\x01"
    """The session's status has changed."""
    session = (
        b'\x1a\x0estreamlit_page"\x17/apps/streamlit_page.py2\x06\x18\x02(\x01H\x01'
        b"J 5d25f6f51581203e5a77e909d417b890"
    )
    started = b'\x12(2&\n$418b2bf5-e328-436b-8f4f-1db54237b046"' + bytes((len(session),)) + session
    button = b"$$ID-fe7a36c9caebd77ff66bb8baddc16967-None"
    drawn = (
        b'\n 943872168da1514e582df75685f1eb17\x12&\x12\x02\x00\x00" 5d25f6f51581203e5a77e909d417b890* '
        b"\x1a\x1e\xfa\x02\x11\n\x02h1\x1a\tA counter8\x01\xd2\x03\x02\x08\x01\xea\x03\x02\x08\x01",
        b'\n c0064b15f6cb2ffd29fa8b8ca1f00510\x12&\x12\x02\x00\x01" 5d25f6f51581203e5a77e909d417b890*E\x1aC'
        b"\x9a\x01;\n*" + button + b"\x12\x02+1:\tsecondary\xd2\x03\x02\x10\x01",
    )
    number_drawn = (
        b"\n 5781d38f67482b6ce37e1974a7a739ed\x12&\x12\x02\x00\x02\" 5d25f6f51581203e5a77e909d417b890*)\x1a'"
        b'\xea\x01\x1f\n\x17<b class="number">%d</b>\x10\x01 \x01@\x01\xea\x03\x02\x08\x01'
    )
    finished = b"\x12(2&\n$418b2bf5-e328-436b-8f4f-1db54237b0460\x00"
    stopped = b"J\x00"
    rerun = b"Z\x00"
    click = b"Z2\x120\n.\n*" + button + b"\x10\x01"
    """What Streamlit's own browser sends, and its protobuf reads: rerun_script.widget_states.widgets[0]."""

    def run(self, number: int) -> list[bytes]:
        """Return what one run says."""
        drawn = [*self.drawn, self.number_drawn % number]
        return [self.started, self.other, *drawn, self.finished, self.stopped]

    def answer(self, message: bytes) -> Iterable[bytes]:
        """Run the script for the page's load too."""
        return self.run(self.number) if message == self.rerun else super().answer(message)

    def is_click(self, message: bytes) -> bool:
        """Return whether it sets the button's trigger."""
        return message == self.click

    def shows(self, number: int) -> list[bytes]:
        """Return a run."""
        return self.run(number)


class Floor(Counter):
    """The floor's own app; its supervisor is left out."""

    kind = FloorUser
    cookie = "user=f7c5d404b582adf2741bce668fa8cbd2"
    other = b'{"update":{}}'

    def __init__(self) -> None:
        super().__init__()
        ours, theirs = socket.socketpair()
        self._app = FloorApp(theirs)
        self._sock, self._theirs = ours, theirs
        self._lines = ours.makefile("rb")
        self._thread = Thread(target=self._app.serve)
        self._thread.start()
        self._read()

    def close(self) -> None:
        """End the app."""
        self._lines.close()
        self._sock.close()
        self._thread.join()
        self._theirs.close()

    def _read(self) -> tuple[bytes, bytes]:
        line = self._lines.readline().rstrip(b"\n")
        return line[:1], line[1:]

    def _ask(self, message: bytes) -> bytes:
        self._sock.sendall(message + b"\n")
        return self._read()[1]

    @property
    def document(self) -> str:
        """The page."""
        return self._ask(b'{"method":"open"}').decode()

    def is_click(self, message: bytes) -> bool:
        """Return whether it is one to the app."""
        return bool(json.loads(message)["method"] == "increment")

    def answer(self, message: bytes) -> Iterable[bytes]:
        """Have the app answer; of updates each is acknowledged."""
        answers = [self._ask(message)]
        if self.is_click(message):
            self.number += 1
        else:
            for _ in range(json.loads(message)["args"][0]):
                answers.append(self._read()[1])
                self._sock.sendall(b"ok\n")
        return answers

    def shows(self, number: int) -> list[bytes]:
        """Return the answer with another number."""
        answer = self._ask(b'{"method":"increment","args":[]}')
        return [re.sub(rb">\d+<", b">%d<" % number, answer)]
