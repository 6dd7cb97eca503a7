"""What tests of the page share: waiting for what is seen, and looking into a picture."""

from __future__ import annotations

from typing import Any

OPEN = """board => {
  const copy = new OffscreenCanvas(board.width, board.height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(board, 0, 0);
  const { data } = copy.getImageData(0, 0, board.width, board.height);
  let open = 0;
  for (let i = 3; i < data.length; i += 4) open += data[i] === 0;
  return open / (data.length / 4);
}"""
"""The share of a board that is open yet."""
SHOWN = "board => board.toDataURL()"
"""Its pixels."""


def expect(found: Any) -> Any:
    """Playwright's ``expect``, which is there only where a browser is."""
    from playwright.sync_api import expect as expected

    return expected(found)


def done(page: Any, count: int, where: str = "#runs") -> Any:
    """Wait for so many finished pictures."""
    found = page.locator(f"{where} .card[data-status=done]")
    expect(found).to_have_count(count)
    return found
