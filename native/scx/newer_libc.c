/*
 * Functions that the libbpf.a of Debian 13 asks for and the C library of Debian 12 does not have
 * under these names. They differ from the older ones in numbers in binary alone.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

int __isoc23_sscanf(const char *text, const char *format, ...);
int __isoc23_fscanf(FILE *file, const char *format, ...);
unsigned long long __isoc23_strtoull(const char *text, char **end, int base);

__attribute__((weak)) int __isoc23_sscanf(const char *text, const char *format, ...)
{
	va_list args;
	int count;

	va_start(args, format);
	count = vsscanf(text, format, args);
	va_end(args);
	return count;
}

__attribute__((weak)) int __isoc23_fscanf(FILE *file, const char *format, ...)
{
	va_list args;
	int count;

	va_start(args, format);
	count = vfscanf(file, format, args);
	va_end(args);
	return count;
}

__attribute__((weak)) unsigned long long __isoc23_strtoull(const char *text, char **end, int base)
{
	return strtoull(text, end, base);
}
