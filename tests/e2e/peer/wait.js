/** Waiting for conditions. Machines are slow, so limits are generous and never part of a test. */

/** `AULA_E2E_LIMIT` seconds, for whoever waits for a failing test. */
const LIMIT_MS = 1000 * (process.env.AULA_E2E_LIMIT ?? 180);
const STEP_MS = 100;

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** An error that no further waiting can mend. */
export class Hopeless extends Error {}

/**
 * Waits until `probe()` gives something truthy and returns it. Errors of the probe count as "not
 * yet"; at the limit the last error or value is part of the failure.
 */
export async function until(what, probe) {
    const deadline = performance.now() + LIMIT_MS;
    let last;
    while (performance.now() < deadline) {
        try {
            const value = await probe();
            if (value)
                return value;
            last = value;
        } catch (error) {
            if (error instanceof Hopeless)
                throw error;
            last = error;
        }
        await sleep(STEP_MS);
    }
    throw new Error(`waited in vain for: ${what} (last: ${last?.stack ?? JSON.stringify(last)})`);
}
