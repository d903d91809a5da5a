;; Reads at the end of what an address can name. | trapped
(func (export "handle") (param $delivery i32) (result i32) (i32.load offset=4294967295 (i32.const -1)))
