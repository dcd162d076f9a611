// What a reader of a page sees, measured in the browser: `checks`, for tests/heavy/page.py.
"use strict";

window.checks = {
  /** Pixels by which the page is wider than the window. */
  overflow() {
    const root = document.documentElement;
    return root.scrollWidth - root.clientWidth;
  },

  /** The words with less contrast than `least` against what is behind them. */
  faint(least) {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = 1;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    const behind = (element) => {
      const layers = [];
      for (let at = element; at; at = at.parentElement) {
        layers.unshift(getComputedStyle(at).backgroundColor);
      }
      return ["Canvas", ...layers];
    };
    const luminance = (colors) => {
      for (const color of colors) {
        context.fillStyle = color;
        context.fillRect(0, 0, 1, 1);
      }
      const channels = [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
      const [r, g, b] = channels.map((channel) => {
        const share = channel / 255;
        return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
      });
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const found = [];
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let text = texts.nextNode(); text; text = texts.nextNode()) {
      const element = text.parentElement;
      if (!text.data.trim() || !element.checkVisibility()) continue;
      if (["SCRIPT", "STYLE"].includes(element.tagName)) continue;
      const back = behind(element);
      const both = [back, [...back, getComputedStyle(element).color]].map(luminance);
      const ratio = (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
      if (ratio < least) found.push(`${ratio.toFixed(2)}: ${text.data.trim().slice(0, 60)}`);
    }
    return found;
  },

  /** Of every picture: its words, the pixels it has and is shown at, whether it is opaque. */
  pictures() {
    return [...document.images].map((image) => {
      const canvas = document.createElement("canvas");
      canvas.width = canvas.height = 1;
      const context = canvas.getContext("2d");
      if (image.naturalWidth) context.drawImage(image, 0, 0);
      const opaque = context.getImageData(0, 0, 1, 1).data[3] === 255;
      const { alt, naturalWidth, width } = image;
      return { alt, naturalWidth, width, opaque };
    });
  },

  /** What the keyboard has to reach: the elements that can be used, and boxes that scroll. */
  usable() {
    const all = [...document.querySelectorAll("a[href], button, summary, .wide")];
    return all.filter((each) => {
      const scrolls = each.scrollWidth > each.clientWidth;
      const holds = each.querySelector("a[href], button");
      return each.matches(".wide") ? scrolls && !holds : each.checkVisibility();
    });
  },

  /** Marks the element that has the keyboard; says whether that shows. */
  mark() {
    const element = document.activeElement;
    const { outlineStyle, outlineWidth } = getComputedStyle(element);
    element.dataset.reached = outlineStyle !== "none" && parseFloat(outlineWidth) > 0;
  },

  /** The usable elements that the keyboard did not reach, or whose focus does not show. */
  unreached() {
    const lost = checks.usable().filter((each) => each.dataset.reached !== "true");
    return lost.map((each) => each.outerHTML.slice(0, 80));
  },

  /** The text of a column of the page's n-th table. */
  column(table, number) {
    const rows = [...document.querySelectorAll("table")[table].tBodies[0].rows];
    return rows.map((row) => row.cells[number].textContent);
  },

  /** What a reader copies who selects the n-th table by hand. */
  selected(table) {
    getSelection().selectAllChildren(document.querySelectorAll("table")[table]);
    return getSelection().toString();
  },
};
