/** Where tiles go: pure geometry. All sizes are CSS pixels. */

const GAP = 8;
const RATIO = 16 / 9;
/** Beside a stage at least this much wider than high the strip is a column, else it is below. */
const WIDE_RATIO = 1.2;
/** Thumbnails beside a slide, and tiles of a grid, are not made smaller than this: they page. */
const STRIP_TILE_MIN = 104;
const GRID_TILE_MIN = 150;
const GRID_TILE_MIN_WIDE = 190;
const WIDE_MIN = 700;
/** Phones on their side are wide enough for many, but not high: small tiles in two rows beat large ones in one. */
const WIDE_HEIGHT_MIN = 360;
/** Pictures on one page: small devices decode few of them. */
const PAGE_MAX_NARROW = 12;
const PAGE_MAX = 30;
const PAGER_HEIGHT = 48;
/** Below a slide on a narrow screen the strip keeps at least this part of the height. */
const STRIP_PART_MIN = 0.25;

/**
 * Places `main` tiles large and the `rest` in a strip, or all in a grid when nothing is large.
 * Gives {boxes, page, pages, pager}: boxes are {left, top, width, height, isLarge} in the order of
 * main and then of the part of `rest` that this page shows, which starts at `first`.
 */
export function arrange({ width, height, main, rest, page }) {
    const pageMax = width >= WIDE_MIN ? PAGE_MAX : PAGE_MAX_NARROW;
    if (main === 0)
        return withPages({ left: 0, top: 0, width, height }, rest, page, { pageMax });
    const { mainBox, stripBox } = split(width, height, rest > 0);
    const large = fill(mainBox, main).map((box) => ({ ...box, isLarge: true }));
    return withPages(stripBox, rest, page, { pageMax, isStrip: true, large });
}

function split(width, height, hasStrip) {
    const whole = { left: 0, top: 0, width, height };
    if (!hasStrip)
        return { mainBox: whole, stripBox: { ...whole, width: 0 } };
    if (width / height >= WIDE_RATIO) {
        const strip = Math.min(220, Math.max(STRIP_TILE_MIN, width * 0.17));
        return {
            mainBox: { ...whole, width: width - strip - GAP },
            stripBox: { ...whole, left: width - strip, width: strip },
        };
    }
    const mainHeight = Math.min(width / RATIO, height * (1 - STRIP_PART_MIN));
    return {
        mainBox: { ...whole, height: mainHeight },
        stripBox: { ...whole, top: mainHeight + GAP, height: height - mainHeight - GAP },
    };
}

function withPages(box, count, wantedPage, { pageMax, isStrip = false, large = [] }) {
    const min = isStrip ? STRIP_TILE_MIN
        : box.width >= WIDE_MIN && box.height >= WIDE_HEIGHT_MIN ? GRID_TILE_MIN_WIDE : GRID_TILE_MIN;
    const capacity = (height) => {
        const columns = Math.max(1, Math.floor((box.width + GAP) / (min + GAP)));
        const tileWidth = (box.width - GAP * (columns - 1)) / columns;
        const rows = Math.max(1, Math.floor((height + GAP) / (tileWidth / RATIO + GAP)));
        return Math.min(columns * rows, pageMax);
    };
    let { height } = box;
    let size = capacity(height);
    let pager = null;
    if (count > size) {
        height = Math.max(min / RATIO, height - PAGER_HEIGHT);
        size = capacity(height);
        pager = { left: box.left, top: box.top + height, width: box.width, height: PAGER_HEIGHT };
    }
    const pages = Math.max(1, Math.ceil(count / size));
    const page = Math.min(Math.max(0, wantedPage), pages - 1);
    const first = page * size;
    const shown = Math.min(size, count - first);
    // All pages have the same tiles, so that nothing jumps; the last one may have holes.
    const boxes = fill({ ...box, height }, pages > 1 ? size : shown, shown, isStrip);
    return { boxes: [...large, ...boxes], page, pages, pager, first, shown };
}

/** The grid that makes `count` tiles largest in `box`; gives the first `shown` of its places. */
function fill(box, count, shown = count, isAtStart = false) {
    let best = { columns: 1, width: 0 };
    for (let columns = 1; columns <= count; columns += 1) {
        const rows = Math.ceil(count / columns);
        const width = Math.min(
            (box.width - GAP * (columns - 1)) / columns,
            (box.height - GAP * (rows - 1)) / rows * RATIO,
        );
        if (width > best.width)
            best = { columns, width };
    }
    const rows = Math.ceil(count / best.columns);
    // A large tile may be less wide than 16:9, for slides of other shapes.
    const tileWidth = count === 1 && !isAtStart ? box.width : best.width;
    const tileHeight = count === 1 && !isAtStart ? box.height : best.width / RATIO;
    const usedHeight = rows * tileHeight + (rows - 1) * GAP;
    const top = box.top + (isAtStart ? 0 : Math.max(0, (box.height - usedHeight) / 2));
    return Array.from({ length: shown }, (_, index) => {
        const row = Math.floor(index / best.columns);
        const inRow = Math.min(best.columns, count - row * best.columns);
        const usedWidth = inRow * tileWidth + (inRow - 1) * GAP;
        return {
            left: box.left + (box.width - usedWidth) / 2 + index % best.columns * (tileWidth + GAP),
            top: top + row * (tileHeight + GAP),
            width: tileWidth,
            height: tileHeight,
            isLarge: false,
        };
    });
}
