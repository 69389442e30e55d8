// SPDX-License-Identifier: GPL-2.0
// No code at all.
char LICENSE[] __attribute__((section("license"), used)) = "GPL";
