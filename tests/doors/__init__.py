"""Every endpoint, asked by everybody: what each may know and do stands in a table.

table    the rows: endpoint, how it is asked, and what each actor is answered
actors   who asks
test_*   that there is a row for every endpoint, and that every row is true
"""
