// SPDX-License-Identifier: GPL-2.0
// Modules that Python programs imported: an example of USDT probes.
//
// The probe is where the interpreter was built with it (--with-dtrace: Debian, Fedora), in its
// executable or in its library; all of the host's are hooked. Containers' own are not seen.
#include "maps.bpf.h"

#include <asm/ptrace.h> // registers, where the probe's arguments are

#include <bpf/usdt.bpf.h>

struct module {
	char name[64];
};

// Names are the programs' own, so there is no end of them.
RECENT_COUNTER_MAP(python_module_imports_total, struct module, 1024);

SEC("usdt/*python3.*:python:import__find__load__start")
int BPF_USDT(import_start, const char *name)
{
	struct module module = {};

	if (bpf_probe_read_user_str(module.name, sizeof(module.name), name) > 0)
		count(python_module_imports_total, &module, 1);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
