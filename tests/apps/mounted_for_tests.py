"""Larger applications that a Runner is mounted in, each an address for a web server."""

from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from htagweb import Runner

APP = "server_for_tests.App"
runner = Runner(APP)
other = Runner("hello_for_tests.App")


async def hello(request: Request) -> Response:
    return PlainTextResponse("hello")


async def remember(request: Request) -> Response:
    """Keep the query in the session."""
    request.session.update(request.query_params)
    return PlainTextResponse(str(dict(request.session)))


async def serve_inside(request: Request) -> Response:
    return await runner.handle(request, APP)


runner.routes.append(Mount("/inner", routes=[Route("/app", serve_inside), Route("/remember", remember)]))
other.add_route("/remember", remember)


@asynccontextmanager
async def both(outer: Starlette) -> Any:
    async with runner.lifespan(outer), other.lifespan(outer):
        yield


routes = [Route("/", hello), Mount("/apps", runner), Mount("/others", other)]
without_lifespan = Starlette(routes=routes)
with_lifespan = Starlette(routes=routes, lifespan=both)
fastapi = FastAPI(lifespan=runner.lifespan)
fastapi.add_route("/", hello)
fastapi.mount("/apps", runner)
