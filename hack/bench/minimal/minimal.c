// The least that a KVM monitor of Linux guests has to do, to compare ours with: open /dev/kvm,
// make a VM of 128 MiB with interrupt controllers and one vCPU, which has the host's CPUID and
// is in 64-bit mode, copy an ELF's first segment into it, and run
// it to its write to port 0x64, the reset that ends it. What it writes to the serial port goes to
// standard output. No other device, no confinement.
#include <elf.h>
#include <err.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MEMORY = 128 << 20, PML4 = 0x1000, PDPT = 0x2000, PD = 0x3000, SERIAL = 0x3f8, RESET = 0x64 };

// call is an ioctl that must succeed.
static int call(int fd, unsigned long request, void *arg, const char *what)
{
	int r = ioctl(fd, request, arg);
	if (r < 0)
		err(1, "%s", what);
	return r;
}

// load copies the first segment of the ELF executable, and gives its entry.
static uint64_t load(const char *path, uint8_t *memory)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	Elf64_Ehdr e;
	Elf64_Phdr p;
	if (fd < 0 || pread(fd, &e, sizeof e, 0) != sizeof e || pread(fd, &p, sizeof p, e.e_phoff) != sizeof p)
		err(1, "%s", path);
	if (p.p_paddr > MEMORY || p.p_filesz > MEMORY - p.p_paddr)
		errx(1, "%s: does not fit", path);
	if (pread(fd, memory + p.p_paddr, p.p_filesz, p.p_offset) != (ssize_t)p.p_filesz)
		err(1, "%s", path);
	return e.e_entry;
}

// enter sets the vCPU to 64-bit mode, on an identity map.
static void enter(int vcpu, uint8_t *memory, uint64_t entry)
{
	struct kvm_sregs s;
	struct kvm_regs r = {.rip = entry, .rflags = 2};
	*(uint64_t *)(memory + PML4) = PDPT | 3;
	*(uint64_t *)(memory + PDPT) = PD | 3;
	for (uint64_t at = 0; at < MEMORY; at += 2 << 20)
		((uint64_t *)(memory + PD))[at >> 21] = at | 0x83;
	call(vcpu, KVM_GET_SREGS, &s, "KVM_GET_SREGS");
	s.cr3 = PML4, s.cr4 = 0x20, s.cr0 = 0x80000001, s.efer = 0x500;
	s.cs = (struct kvm_segment){.limit = ~0u, .selector = 8, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1};
	s.ds = (struct kvm_segment){.limit = ~0u, .selector = 16, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1};
	s.es = s.fs = s.gs = s.ss = s.ds;
	call(vcpu, KVM_SET_SREGS, &s, "KVM_SET_SREGS");
	call(vcpu, KVM_SET_REGS, &r, "KVM_SET_REGS");
}

int main(int argc, char **argv)
{
	if (argc != 2)
		errx(2, "usage: minimal KERNEL");
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm < 0)
		err(1, "/dev/kvm");
	int vm = call(kvm, KVM_CREATE_VM, 0, "KVM_CREATE_VM");
	uint8_t *memory = mmap(0, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED)
		err(1, "mmap");
	struct kvm_userspace_memory_region region = {.memory_size = MEMORY, .userspace_addr = (uintptr_t)memory};
	call(vm, KVM_SET_USER_MEMORY_REGION, &region, "KVM_SET_USER_MEMORY_REGION");
	uint64_t identity = 0xfffbc000;
	call(vm, KVM_SET_TSS_ADDR, (void *)0xfffbd000, "KVM_SET_TSS_ADDR");
	call(vm, KVM_SET_IDENTITY_MAP_ADDR, &identity, "KVM_SET_IDENTITY_MAP_ADDR");
	call(vm, KVM_CREATE_IRQCHIP, 0, "KVM_CREATE_IRQCHIP");
	int vcpu = call(vm, KVM_CREATE_VCPU, 0, "KVM_CREATE_VCPU");
	static struct { struct kvm_cpuid2 head; struct kvm_cpuid_entry2 entries[256]; } cpuid = {.head.nent = 256};
	call(kvm, KVM_GET_SUPPORTED_CPUID, &cpuid, "KVM_GET_SUPPORTED_CPUID");
	call(vcpu, KVM_SET_CPUID2, &cpuid, "KVM_SET_CPUID2");
	int size = call(kvm, KVM_GET_VCPU_MMAP_SIZE, 0, "KVM_GET_VCPU_MMAP_SIZE");
	struct kvm_run *run = mmap(0, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (run == MAP_FAILED)
		err(1, "mmap vcpu");
	enter(vcpu, memory, load(argv[1], memory));
	for (;;) {
		call(vcpu, KVM_RUN, 0, "KVM_RUN");
		if (run->exit_reason != KVM_EXIT_IO || run->io.port != SERIAL)
			break;
		if (write(1, (uint8_t *)run + run->io.data_offset, run->io.size) < 0)
			err(1, "write");
	}
	if (run->exit_reason != KVM_EXIT_IO || run->io.port != RESET)
		errx(1, "exit %u, port %#x: want a write to port %#x", run->exit_reason, run->io.port, RESET);
	return 0;
}
