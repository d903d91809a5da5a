;; Begins with all the memory that an address can name. | out-of-memory
;;: memory 65536
(func (export "handle") (param $delivery i32) (result i32) (call $ok))
