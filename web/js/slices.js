/** Work in slices, so that the page answers in between. */

const SLICE_MS = 12;

/** Does `deed(item)` for each of `items`, over several tasks if it takes long, until `isOver()`. */
export async function inSlices(items, deed, isOver) {
    let begunAt = performance.now();
    for (const item of items) {
        if (performance.now() - begunAt > SLICE_MS) {
            await new Promise((resolve) => setTimeout(resolve));
            begunAt = performance.now();
        }
        if (isOver())
            return;
        deed(item);
    }
}
