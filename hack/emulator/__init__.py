"""A stand-in for Meta's Graph API, as far as product catalogs need it.

It is a reading of the published documentation that is independent of the operator: nothing of `controller` is
imported here, so the two can disagree, and where they do a test fails. It promises

- to be strict: an unknown path, parameter or field is answered with the documented error, and what is documented but
  not built yet with status 501 and the name of the missing section; nothing is shrugged off;
- to be asynchronous on an injected clock: whatever happens later at Meta is stored as "effect at T" and applied when
  the clock has passed T, so it runs in real, compressed and virtual time alike;
- to say where each behaviour comes from (`documented`), and to make each unpublished one a switch (`switches`)
  whose default is the worst that cannot be ruled out;
- to audit its client (`auditor`): what overlapped, exceeded a quota, went backwards, or was deleted unasked.

What it does not emulate is listed in README.md; what it does, with provenance and tests, in COVERAGE.md (generated).
"""
