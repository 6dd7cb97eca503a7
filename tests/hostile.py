"""Some 300 requests that nobody should answer with a picture, made by code: name -> what to send."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from served import EDIT, GENERATE, file

Case = tuple[str, str, str, dict[str, Any]]
"""Name, method, address, and what httpx is told."""
RED = Image.new("RGB", (16, 16), (200, 40, 40))
HALF = Image.new("L", (16, 16))
HALF.paste(255, (0, 0, 8, 16))
KINDS: dict[str, list[Any]] = {
    "n": [-1, 0, 11, 10**9, 1.5, "2", True, [], {}, 2**63, -(2**70)],
    "size": [
        "0x0",
        "-1x16",
        "99999x1",
        "16X16",
        "16x16x16",
        "axb",
        "",
        "x" * 5000,
        16,
        [16, 16],
        "\uff11\uff16x\uff11\uff16",
    ],
    "steps": [0, -1, 17, 10**9, 2**64, "4", 4.5, None.__class__.__name__, [4], True],
    "seed": [-1, 2**63, 2**63 - 5, 10**25, "1", 1.0, {}, False],
    "temperature": [-1, -0.001, 1e9, "1", [], True, {}],
    "top_k": [-1, 2**31, 1.5, "5", [1]],
    "top_p": [0, -0.1, 1.0001, 2, "0.5", []],
    "guidance_scale": [-1, 1e6, "4", {}, [4]],
    "order": ["rastr", "", "../raster", "__class__", 3, ["raster"], "\x00", "raster\n", "x" * 10_000],
    "model": ["toyy", "", "../toy", "/etc/passwd", "hf:x/y", 3, "\x00", "x" * 300, "http://169.254.169.254/"],
    "prompt": [3, None, [], {}, "", " \n\t", "\x00", "nothingness", "x" * 30_000, "\ud800", "../../etc/passwd", True],
    "stream": ["true", 1, 0, "yes", []],
    "partial_images": [1, 3, 4, -1, "2", True],
    "x_partials": ["some", True, 1, "all"],
    "output_format": ["gif", "PNG", "svg", "", 3, "tiff"],
    "output_compression": [-1, 101, 50, "50", 1.5],
    "response_format": ["url", "png", 1],
    "quality": ["high", "hd", 3],
    "background": ["transparent", "red", 1],
    "moderation": ["none", 1],
    "class_label": [0, -1, 10**30, "cat", 1.5, [], True],
    "user": [3, "x" * 300, []],
    "image": ["http://127.0.0.1/a.png", "file:///etc/passwd", "data:image/png;base64,AAAA"],
    "image_url": ["http://169.254.169.254/", "http://[::1]/", "gopher://x", "http://2852039166/"],
    "style": ["vivid"],
    "negative_prompt": ["blue"],
    "num_inference_steps": [3],
    "__proto__": [{"n": 2}],
    "": [1],
    "prompt\x00": ["red"],
    "\ud800": ["red"],
    "x" * 10_000: [1],
}


def fields() -> Iterator[Case]:
    """A valid request with one field that is wrong."""
    for name, values in KINDS.items():
        for i, value in enumerate(values):
            body = json.dumps({"prompt": "red", name: value})
            yield f"{name[:20]!r} {i}", "POST", GENERATE, _json(body.encode())


def texts() -> Iterator[Case]:
    """Bodies that are no JSON, or more of it than is taken."""
    deep = 100_000
    bodies: dict[str, bytes] = {
        "empty": b"",
        "null": b"null",
        "list": b'[{"prompt": "red"}]',
        "text": b'"red"',
        "number": b"3",
        "cut": b'{"prompt": "red"',
        "comma": b'{"prompt": "red",}',
        "quotes": b"{'prompt': 'red'}",
        "twice": b'{"prompt": "red", "prompt": "green"}',
        "twice inside": b'{"prompt": {"a": 1, "a": 2}}',
        "nan": b'{"prompt": "red", "temperature": NaN}',
        "infinity": b'{"prompt": "red", "temperature": -Infinity}',
        "1e400": b'{"prompt": "red", "temperature": 1e400}',
        "digits": b'{"prompt": "red", "seed": ' + b"9" * 20_000 + b"}",
        "decimals": b'{"prompt": "red", "top_p": 0.' + b"1" * 20_000 + b"}",
        "hex": b'{"prompt": "red", "n": 0x2}',
        "deep lists": b'{"prompt": ' + b"[" * 20_000 + b"]" * 20_000 + b"}",
        "deep objects": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        "too deep to send": b"[" * deep,
        "brackets in a string": b'{"prompt": "' + b"[" * 5_000 + b'"}',
        "bad utf-8": b'{"prompt": "\xff\xfe"}',
        "overlong utf-8": b'{"prompt": "\xc0\xaf"}',
        "utf-16": '{"prompt": "red"}'.encode("utf-16"),
        "byte order mark": b'\xef\xbb\xbf{"prompt": "red"}',
        "control": b'{"prompt": "re\x01d"}',
        "two": b'{"prompt": "red"}{"prompt": "red"}',
        "comment": b'{"prompt": "red" /* n */}',
        "large": b'{"prompt": "' + b"x" * 200_000 + b'"}',
        "many names": json.dumps({f"a{i}": i for i in range(4000)}).encode(),
        "escapes": b'{"prompt": "\\u12"}',
    }
    for name, body in bodies.items():
        yield name, "POST", GENERATE, _json(body)
    good = b'{"prompt": "red"}'
    kinds = (
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/xml",
        "",
        "application/json; charset=utf-7",
        "x" * 3000,
    )
    for i, kind in enumerate(kinds):
        yield f"content-type {i}", "POST", GENERATE, {"content": good, "headers": {"content-type": kind}}
    for coding in ("gzip", "br", "deflate, gzip", "x"):
        bomb = zlib.compress(b" " * 1_000_000)
        yield (
            f"coding {coding}",
            "POST",
            GENERATE,
            {
                "content": bomb,
                "headers": {"content-type": "application/json", "content-encoding": coding},
            },
        )


def png(width: int, height: int) -> bytes:
    """A PNG file that says it has so many pixels, and next to none."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


def pictures() -> dict[str, bytes]:
    """Files that are no picture of the right kind."""
    whole, jpeg, webp = file(RED), file(RED, "JPEG"), file(RED, "WEBP")
    floating = io.BytesIO()
    Image.fromarray(np.full((16, 16), 0.5, dtype=np.float32)).save(floating, "TIFF")
    found = {f"png cut at {i}": whole[: i * len(whole) // 12] for i in range(10)}
    found |= {f"jpeg cut at {i}": jpeg[: i * len(jpeg) // 12] for i in range(6)}
    found |= {f"webp cut at {i}": webp[: i * len(webp) // 12] for i in range(10)}
    found |= {
        f"bomb {w} x {h}": png(w, h) for w, h in ((30000, 30000), (99999, 1000), (2**31 - 1, 2**31 - 1), (5000, 1000))
    }
    found |= {f"no size {w} x {h}": png(w, h) for w, h in ((0, 0), (0, 16), (16, 0))}
    found |= {
        "real bomb": file(Image.new("1", (12000, 12000))),
        "text": b"not a picture",
        "html": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
        "gif": file(RED, "GIF"),
        "bmp": file(RED, "BMP"),
        "tiff": floating.getvalue(),
        "icon": file(RED, "ICO"),
        "pdf": b"%PDF-1.4\n",
        "postscript": b"%!PS-Adobe-3.0\n(/etc/passwd) run",
        "zip": b"PK\x03\x04" + b"\0" * 100,
        "pickle": b"\x80\x04cos\nsystem\n(S'touch /tmp/x'\ntR.",
        "zeros": b"\0" * 100_000,
        "moving png": file(RED, save_all=True, append_images=[RED.rotate(9), RED.rotate(20)]),
        "moving webp": file(RED, "WEBP", save_all=True, append_images=[RED.rotate(9), RED.rotate(20)]),
        "other size": file(RED.resize((17, 16))),
        "one pixel": file(RED.resize((1, 1))),
        "strip": file(RED.resize((4000, 1))),
    }
    return found


def forms() -> Iterator[Case]:
    """Forms with files or fields that are wrong."""
    good = {"image": ("i.png", file(RED)), "mask": ("m.png", file(HALF))}
    for name, data in pictures().items():
        for which in good:
            yield f"{which} {name}", "POST", EDIT, {"data": {"prompt": "red"}, "files": {**good, which: ("x", data)}}
    for name, value in (
        ("n", "-1"),
        ("n", "two"),
        ("n", "1e1"),
        ("n", "NaN"),
        ("seed", "9" * 5000),
        ("steps", "[" * 500),
        ("stream", "yes"),
        ("keep", "2"),
        ("keep", "0.5"),
        ("margins", "[1,1,1,1]"),
        ("feather", "-1"),
        ("feather", "5000"),
        ("crop", "1"),
        ("size", "99999x1"),
        ("prompt", ""),
        ("prompt", "x" * 3000),
        ("prompt", "x" * 100_000),
        ("stepz", "1"),
        ("top_p", "1e400"),
        ("image", "http://x/"),
        ("mask", "file:///etc/passwd"),
        ("\x00", "1"),
        ("__class__", "1"),
    ):
        files = {key: value_ for key, value_ in good.items() if key != name}
        yield f"form {name!r} {value[:9]}", "POST", EDIT, {"data": {"prompt": "red", name: value}, "files": files}
    many = [("image", ("i", file(RED)))] * 9
    yield "many files", "POST", EDIT, {"data": {"prompt": "red"}, "files": many}
    yield "many fields", "POST", EDIT, {"data": {f"a{i}": "1" for i in range(500)}, "files": good}
    yield "no files", "POST", EDIT, {"data": {"prompt": "red"}}
    yield "json", "POST", EDIT, _json(b'{"prompt": "red"}')
    kind = "multipart/form-data"
    field = b"--b\r\nContent-Disposition: form-data"
    raw = b'--b\r\nContent-Disposition: form-data; name="prompt"\r\n\r\nred\r\n'
    bodies = {
        "no boundary": (kind, raw),
        "other boundary": (f"{kind}; boundary=c", raw),
        "cut": (f"{kind}; boundary=b", raw[:40]),
        "not closed": (f"{kind}; boundary=b", raw),
        "empty boundary": (f"{kind}; boundary=", raw),
        "nothing": (f"{kind}; boundary=b", b""),
        "long boundary": (f"{kind}; boundary={'b' * 5000}", raw),
        "no name": (f"{kind}; boundary=b", field + b"\r\n\r\n1\r\n--b--"),
        "bad bytes": (f"{kind}; boundary=b", field + b'; name="\xff\xfe"\r\n\r\n\xff\r\n--b--'),
        "no headers": (f"{kind}; boundary=b", b"--b\r\n\r\n\r\n--b--"),
        "long header": (f"{kind}; boundary=b", b"--b\r\n" + b"X: " + b"x" * 50_000),
        "charset": (f"{kind}; boundary=b; charset=none", raw + b"--b--"),
    }
    for name, (said, body) in bodies.items():
        yield f"form {name}", "POST", EDIT, {"content": body, "headers": {"content-type": said}}


def addresses() -> Iterator[Case]:
    """Addresses that lead nowhere, or out of the house."""
    for path in (
        "/page/../app.py",
        "/page/%2e%2e/app.py",
        "/page/..%2f..%2fapp.py",
        "/page//etc/passwd",
        "/page/%00",
        "/page/a%0d%0aX: y",
        "/v1/models/%2e%2e",
        "/v1/models/..%2ftoy",
        "/v1/models/%00",
        "/v1/models/" + "x" * 5000,
        "/v1/models/toy/words?limit=-1",
        "/v1/models/toy/words?limit=99999999999999999999",
        "/v1/models/toy/words?offset=x",
        "/v1/models/toy/words?contains=" + "x" * 200,
        "//v1/models",
        "/v1",
        "/v1/images",
        "/docs",
        "/redoc",
        "/.env",
        "/v1/models/toy/",
        "/metrics/../ready/x",
        "/%ff%fe",
    ):
        yield f"GET {path[:40]}", "GET", path, {}
    for method in ("PUT", "DELETE", "PATCH", "TRACE", "OPTIONS", "CONNECT", "X-ODD"):
        for path in (GENERATE, "/v1/models", "/health", "/"):
            yield f"{method} {path}", method, path, {}


def _json(body: bytes) -> dict[str, Any]:
    return {"content": body, "headers": {"content-type": "application/json"}}


GROUPS = {"fields": fields, "texts": texts, "forms": forms, "addresses": addresses}
