/** Says at the start of a run that nothing will be tested, so that a green run without a server is not mistaken for one with it. */
export default function announce(): void {
  if (process.env["WHISPR_TEST_URL"] === undefined) {
    console.warn("SKIPPED: these tests drive a running server and WHISPR_TEST_URL is not set. pytest tests/e2e starts one and sets it.");
  } else if (process.env["WHISPR_TEST_CONTROL"] === undefined) {
    console.warn("SKIPPED: the restart tests, since WHISPR_TEST_CONTROL is not set. pytest tests/e2e sets it.");
  }
}
