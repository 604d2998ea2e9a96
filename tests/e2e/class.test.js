import { aClass } from './peer/class.js';

aClass({ title: 'a class on one shard', args: ['--shards', '1'] });
