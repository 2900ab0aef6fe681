# The C library by itself, for schedulers that are not written in Python; needs a C11 compiler, make, and Python, which
# makes what the library has from kernel/ (generate.py).
#   lib          build/lib: libxenmem.a and .so, xenmem.h, xenmem_inline.h, xenmem.pc; usable there:
#                PKG_CONFIG_PATH=build/lib
#   install-lib  the same below PREFIX (default /usr/local); DESTDIR is put before it
#   sanitize-searches  the compiled searches likewise, with the package that is installed
#   sanitize     the C tests with the address and undefined behaviour sanitizers, at every SIMD level of this machine
# Included by the Makefile, whose directory all paths are relative to. The version stands in xenmem.h alone.

PREFIX ?= /usr/local
LIB := build/lib
LIB_VERSION := $(shell sed -n 's/^\#define XENMEM_VERSION "\(.*\)"/\1/p' csrc/xenmem.h)
LIB_SONAME := libxenmem.so.$(firstword $(subst ., ,$(LIB_VERSION)))
LIB_HEADERS := $(wildcard csrc/*.h)
LIB_SOURCES := $(filter-out csrc/example.c,$(wildcard csrc/*.c))
GENERATED := $(LIB)/generated
LIB_GENERATED := $(GENERATED)/models.c $(GENERATED)/inline.c
LIB_OBJECTS := $(LIB_SOURCES:csrc/%.c=$(LIB)/objects/%.o) $(LIB_GENERATED:$(GENERATED)/%.c=$(LIB)/objects/%.o)
LIB_CFLAGS := -std=c11 -O3 -ffp-contract=off -Wall -Wextra -Werror -fPIC
TEST_CFLAGS := -std=c11 -O2 -g -ffp-contract=off -Wall -Wextra -Werror \
               -fsanitize=address,undefined -fno-sanitize-recover=all

.PHONY: lib install-lib sanitize sanitize-searches

lib: $(LIB)/libxenmem.so.$(LIB_VERSION) $(LIB)/libxenmem.a $(LIB)/xenmem.h $(LIB)/xenmem_inline.h $(LIB)/xenmem.pc
	ln -sf libxenmem.so.$(LIB_VERSION) $(LIB)/$(LIB_SONAME)
	ln -sf $(LIB_SONAME) $(LIB)/libxenmem.so

install-lib: lib
	install -d $(DESTDIR)$(PREFIX)/include $(DESTDIR)$(PREFIX)/lib/pkgconfig
	install -m 644 $(LIB)/xenmem.h $(LIB)/xenmem_inline.h $(DESTDIR)$(PREFIX)/include
	install -m 644 $(LIB)/libxenmem.a $(DESTDIR)$(PREFIX)/lib
	install -m 755 $(LIB)/libxenmem.so.$(LIB_VERSION) $(DESTDIR)$(PREFIX)/lib
	cp -P $(LIB)/$(LIB_SONAME) $(LIB)/libxenmem.so $(DESTDIR)$(PREFIX)/lib
	$(call write_pc,$(PREFIX),$${prefix}/lib,$${prefix}/include,$(DESTDIR)$(PREFIX)/lib/pkgconfig/xenmem.pc)

sanitize: build/sanitize/test_kernels
	for level in scalar avx2 avx512; do echo "XENMEM_SIMD=$$level" && XENMEM_SIMD=$$level $< || exit 1; done

# the searches' C with the sanitizers and every index checked, asked what tests ask both engines
SANITIZERS = $(foreach name,asan ubsan,$(shell $(CC) -print-file-name=lib$(name).so))

sanitize-searches: $(INSTALLED)
	rm -rf build/searches && mkdir -p build/searches && cp -RL xenmem build/searches
	CFLAGS="-DXENMEM_CHECKED -fsanitize=address,undefined -fno-sanitize-recover=undefined" \
	    $(BIN)/python setup.py -q build_ext --build-lib build/searches --build-temp build/searches/temp
	python=$$PWD/$(BIN)/python && cd build/searches && LD_PRELOAD="$(SANITIZERS)" ASAN_OPTIONS=detect_leaks=0 PYTHONPATH=. \
	    $$python ../../tests/planning/search/every_search.py 200 > /dev/null

build/sanitize/test_kernels: tests/c/test_kernels.c $(LIB_SOURCES) $(LIB_HEADERS) $(LIB_GENERATED)
	mkdir -p $(@D)
	$(CC) $(TEST_CFLAGS) -Icsrc -I$(GENERATED) $(filter %.c,$^) -lm -o $@

$(GENERATED)/models.c $(GENERATED)/inline.c $(GENERATED)/xenmem_inline.h &: csrc/generate.py csrc/translate.py \
    csrc/numbers.h csrc/xenmem.h $(wildcard kernel/*.py)
	$(PYTHON) csrc/generate.py $(GENERATED)

$(LIB)/objects/%.o: $(GENERATED)/%.c $(LIB_HEADERS)
	mkdir -p $(@D)
	$(CC) $(LIB_CFLAGS) -Icsrc -I$(GENERATED) -c $< -o $@

$(LIB)/objects/%.o: csrc/%.c $(LIB_HEADERS)
	mkdir -p $(@D)
	$(CC) $(LIB_CFLAGS) -c $< -o $@

$(LIB)/libxenmem.so.$(LIB_VERSION): $(LIB_OBJECTS)
	$(CC) -shared -Wl,-soname,$(LIB_SONAME) $^ -o $@

$(LIB)/libxenmem.a: $(LIB_OBJECTS)
	rm -f $@
	$(AR) rcs $@ $^

$(LIB)/xenmem.h: csrc/xenmem.h
	mkdir -p $(@D)
	cp $< $@

$(LIB)/xenmem_inline.h: $(GENERATED)/xenmem_inline.h
	cp $< $@

# prefix, libdir, includedir, file
write_pc = printf '%s\n' 'prefix=$(1)' 'libdir=$(2)' 'includedir=$(3)' '' 'Name: xenmem' \
    'Description: the memory arithmetic of xapi over arrays of VMs' 'Version: $(LIB_VERSION)' \
    'Libs: -L$${libdir} -lxenmem' 'Cflags: -I$${includedir}' > $(4)

$(LIB)/xenmem.pc: csrc/lib.mk csrc/xenmem.h
	mkdir -p $(@D)
	$(call write_pc,$${pcfiledir},$${prefix},$${prefix},$@)
