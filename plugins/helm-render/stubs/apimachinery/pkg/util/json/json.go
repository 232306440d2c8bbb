// Package json decodes as the reader of documents wants it.
package json

import real "apimachinery.real/pkg/util/json"

// What the decoder of documents calls.
var (
	ConvertMapNumbers       = real.ConvertMapNumbers
	ConvertSliceNumbers     = real.ConvertSliceNumbers
	ConvertInterfaceNumbers = real.ConvertInterfaceNumbers
)
