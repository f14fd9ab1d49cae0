"""`python -m tools.stand_in`"""

import argparse
import asyncio
import contextlib
import sys

from tools.stand_in.modes import MODES, Options
from tools.stand_in.server import StandIn

HOW = """Bedrock:  BEDROCK_MODEL_ID=stand-in BEDROCK_ENDPOINT_URL={url}
          AWS_REGION=us-east-1 AWS_ACCESS_KEY_ID=none AWS_SECRET_ACCESS_KEY=none
OpenAI:   OPENAI_MODEL=stand-in OPENAI_BASE_URL={url}/v1
requests: {url}/_requests"""


def main() -> None:
    arguments = _parser().parse_args()
    options = Options(
        mode=arguments.mode, count=arguments.count, rate=arguments.rate, after=arguments.after, wait=arguments.wait,
        by=arguments.by, retry_after=arguments.retry_after, say=arguments.say,
    )  # fmt: skip
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(StandIn(options), arguments.host, arguments.port, with_parent=arguments.with_parent))


def _parser() -> argparse.ArgumentParser:
    default = Options()
    modes = "\n".join(f"  {name:<16}{' '.join((mode.__doc__ or '').split())}" for name, mode in MODES.items())
    parser = argparse.ArgumentParser(
        prog="python -m tools.stand_in",
        description="A stand-in for language model servers, to see how a client takes their failures.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"modes:\n{modes}\n\nThe model's id in a request may choose another: stand-in.MODE:after=3:rate=50, or "
        "stand-in.say:TEXT.\n`curl -X PUT --data MODE URL/_mode` changes it while the program runs.",
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9009, help="0 takes a free one (default: 9009)")
    parser.add_argument("--mode", choices=MODES, default=default.mode, metavar="MODE", help="default: tokens")
    parser.add_argument("--count", type=int, default=default.count, help="tokens of an answer (default: 20)")
    parser.add_argument("--rate", type=float, default=default.rate, help="tokens a second; 0 is as fast as can be")
    parser.add_argument("--after", type=int, default=default.after, help="tokens before the failure (default: 5)")
    parser.add_argument("--wait", type=float, default=default.wait, help="seconds before the first token")
    parser.add_argument("--by", type=int, default=default.by, help="characters in a token of say and echo (default: 4)")
    parser.add_argument("--say", default=default.say, metavar="TEXT", help="what the mode `say` says")
    parser.add_argument("--retry-after", default="", metavar="SECONDS", help="with 429 and 503")
    parser.add_argument("--with-parent", action="store_true", help="end when standard input closes")
    return parser


async def _serve(stand_in: StandIn, host: str, port: int, *, with_parent: bool) -> None:
    server = await stand_in.listen(host, port)
    url = f"http://{host}:{server.sockets[0].getsockname()[1]}"
    print(f"the stand-in listens on {url}", flush=True)
    print(HOW.format(url=url), flush=True)
    if with_parent:
        await asyncio.to_thread(sys.stdin.buffer.read)
    else:
        await server.serve_forever()


if __name__ == "__main__":
    main()
