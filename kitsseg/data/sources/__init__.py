"""Sources of cases: folders in the layout of KiTS19, KiTS21 and KiTS23, and generated phantoms.

`kits` finds and selects cases, `inspection` checks their files, and `clinical` reads ``kits.json``.
`fetch` downloads files, and `phantom` draws synthetic patients.
"""
